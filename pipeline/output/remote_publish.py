"""Remote: an output that is named by a URL. It is built in a folder of this machine like any other, then published.

    ~/.cache/prep/sft-<digest>/   lock, cache, resume: as for a local output
    s3://bucket/sft/              publishing.json, (old manifest away), shards, lineage, ..., manifest.json, tidied

A store has no rename and no lock; one PUT is atomic, many are not. So an output is what its manifest names, and:

1. `publishing.json` is written: the names of all objects of the old output and the new one.
2. The old manifest is taken away. From here a reader finds no output; one that has read the old manifest already finds
   other sizes or digests, and can tell.
3. What the store has not got is sent. An object stays when its size and sha256 are right: by the old manifest, by the
   store's own tag (ETag, md5) as it was after this machine sent it, or by reading it where there is neither.
4. One more listing: every object has the size and the tag it was sent with, or is read and hashed.
5. The new manifest is written. Only now is there an output, the new one.
6. Objects of the old output that the new one has not got are removed, `publishing.json` last.

A run that ends anywhere in between leaves the old output (before 2), no output, or the new one (after 5); the next run
goes on, from any machine. Of two machines that publish to one URL at the same time the later manifest wins; step 4
finds most mixtures before that, `prep verify URL` finds the rest. Objects that prep did not write are left alone, and a
place that holds only such is refused. Files go one by one; large ones in parts side by side where fsspec does that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from registry.errors import BusyFault, DataFault, MachineFault, UsageFault
from stages.core import atomic_io
from stages.core.atomic_io import TEMPORARY, machine_fault, remove_tree, write_whole
from stages.core.display import clean
from stages.core.manifest_document import changed

from .manifest import CACHE, MANIFEST, is_output, lies_outside, listed_files, parse_manifest
from .open import read_manifest
from .remote_fetch import JOURNAL, MANIFEST_BYTES_MOST, digest_of
from .store import STAGING, Held, Store, cache_folder
from .verify import file_sha256

SENT = "sent.json"  # in the staging folder's cache: what this machine has sent, and the tag it had then
_READ_MOST = 1 << 20  # an object that is small enough to be read rather than sent again
_JOURNAL_START = b'{"schema_version":'
_LOOKS_OURS = frozenset({"dataset_dict.json", "report.json"})


class What(NamedTuple):
    """The content of a file or object."""

    bytes: int
    sha256: str


class RemoteOutput:
    """An output behind a URL, with the folder in which it is built. Used under that folder's lock."""

    def __init__(self, url: str, log: Callable[[str], None]) -> None:
        """Raises UsageFault when nothing can be written to such a URL, MachineFault when a package is missing."""
        self.store = Store(url, for_writing=True)
        self.folder = cache_folder(url, STAGING)
        self.log = log

    # --- what is there ------------------------------------------------------------------------------------------------

    def current(self, key: str) -> dict[str, Any] | None:
        """The manifest at the URL when it is of this run and its objects are there; then nothing has to be done.

        Else it is tried whether the place can be written to. Raises UsageFault when it holds something else or there is
        no such place, MachineFault when it cannot be written to.
        """
        there = self._there()
        manifest = self._complete(there, key)
        if manifest is None:
            if there.journal is None:  # a mistyped bucket or a missing permission is reported before hours of work
                self.store.write(JOURNAL, _journal_of(()))
                self.store.remove(JOURNAL)
            self.log(f"prepared in {self.folder}, then published to {self.store.shown}")
        elif there.journal is not None:
            self._tidy(there, set(object_names(manifest)))
        return manifest

    def _complete(self, there: _There, key: str) -> dict[str, Any] | None:
        manifest = there.manifest
        if manifest is None or manifest.get("key") != key:
            return None
        sent = self._sent()
        for name, about in listed_files(manifest).items():
            held, record = there.held.get(name), sent.get(name)
            if held is None or held.bytes != about["bytes"]:
                wrong = "is missing" if held is None else "is damaged"
            elif record and record[1] not in ("", held.tag) and self._sha256(name) != about["sha256"]:
                wrong = "was changed by someone else"
            else:
                continue
            self.log(f"publishing again: {self.store.shown}/{clean(name)} {wrong}")
            return None
        return manifest

    def _there(self) -> _There:
        held = self.store.held()
        data = self.store.read(MANIFEST, MANIFEST_BYTES_MOST) if MANIFEST in held else None
        manifest = _manifest_of(data, f"{self.store.shown}/{MANIFEST}")
        journal = _journal(self.store.read(JOURNAL, MANIFEST_BYTES_MOST)) if JOURNAL in held else None
        looks_ours = held.keys() >= _LOOKS_OURS and any(name.startswith("lineage/") for name in held)
        if held and manifest is None and journal is None and not looks_ours and not self._sent():
            names = ", ".join(clean(name) for name in sorted(held)[:5])
            raise UsageFault(
                f"{self.store.shown}: the place is not empty and was not written by prep (it holds {names})",
                hint="give another URL with -o, or empty this one",
            )
        return _There(held, manifest, journal)

    def _sent(self) -> dict[str, tuple[What, str]]:
        """Name -> what this machine last sent there, and the tag that the store gave it."""
        try:
            found = orjson.loads((self.folder / CACHE / SENT).read_bytes())
            return {name: (What(size, sha256), tag) for name, (size, sha256, tag) in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _note(self, sent: dict[str, tuple[What, str]]) -> None:
        rows = {name: [what.bytes, what.sha256, tag] for name, (what, tag) in sorted(sent.items())}
        write_whole(self.folder / CACHE / SENT, orjson.dumps(rows))

    # --- publishing ---------------------------------------------------------------------------------------------------

    def publish(self) -> bool:
        """Publishes the finished output of the folder; False when all of it was there already.

        Raises MachineFault that names what could not be written; there is then the old output, or none.
        """
        there, sent = self._there(), self._sent()
        data = (self.folder / MANIFEST).read_bytes()
        manifest = read_manifest(self.folder)
        new = self._staged(manifest)
        old = _listed(there.manifest) if there.manifest is not None else {}
        missing = [name for name, what in new.items() if not self._has(name, what, there.held, old, sent)]
        tags = {name: there.held[name].tag for name in new if name not in missing}
        if not missing and there.manifest is not None and there.manifest.get("sha256") == manifest["sha256"]:
            self._note({name: (what, tags[name]) for name, what in new.items()})
            self._tidy(there, set(new))
            return False
        size = sum(new[name].bytes for name in missing)
        self.log(f"publishing {len(missing)} of {len(new)} files, {size / 1e6:,.1f} MB, to {self.store.shown}")
        owned = {*new, *(there.journal or ())}
        owned.update(object_names(there.manifest) if there.manifest is not None else ())
        self.store.write(JOURNAL, _journal_of(owned))
        if MANIFEST in there.held:
            self.store.remove(MANIFEST)
        for name in missing:
            tags[name] = self._send(name, new[name])
            self._note({**sent, **{known: (new[known], tags[known]) for known in tags}})
        self._check(new, tags)
        self.store.write(MANIFEST, data)
        self._tidy(there._replace(journal=sorted(owned), manifest=None), set(new))
        return True

    def _staged(self, manifest: dict[str, Any]) -> dict[str, What]:
        """Every file of the folder's output by name, the manifest apart."""
        listed = _listed(manifest)
        new = dict(listed)
        for name in object_names(manifest):
            path = self.folder / name
            if name not in new and path.is_file():
                new[name] = What(path.stat().st_size, file_sha256(path))
        return dict(sorted(new.items()))

    def _has(
        self, name: str, what: What, held: dict[str, Held], old: dict[str, What], sent: dict[str, tuple[What, str]]
    ) -> bool:
        """Whether the store has this content under this name."""
        if name not in held or held[name].bytes != what.bytes:
            return False
        record = sent.get(name)
        tag = held[name].tag
        if record and tag and record[1] == tag:
            return record[0] == what
        by_another = bool(record and record[1] and tag)  # a tag that is not the one we know
        if old.get(name) == what and not by_another:
            return True
        worth_reading = what.bytes <= _READ_MOST or (record is not None and record[0] == what)
        return worth_reading and self._sha256(name) == what.sha256

    def _sha256(self, name: str) -> str:
        return self.store.through(name, lambda blocks: digest_of(blocks, rows=False))[0]

    def _send(self, name: str, what: What) -> str:
        """Uploads a file, once its own bytes are proven; returns the tag that the store gives it."""
        path = self.folder / name
        try:
            whole = path.stat().st_size == what.bytes and file_sha256(path) == what.sha256
        except OSError as error:
            raise machine_fault(error, path) from error
        if not whole:
            atomic_io.operations.unlink(os.fspath(self.folder / MANIFEST))  # the next run then makes it anew
            raise MachineFault(f"{path}: has changed since it was written", hint="start again: it is made anew")
        self.store.send(name, path)
        held = self.store.about(name)
        if held is None or held.bytes != what.bytes:
            raise MachineFault(
                f"{self.store.shown}/{clean(name)}: is not there whole after it was sent",
                hint="the same command goes on where it stopped",
            )
        return held.tag

    def _check(self, new: dict[str, What], tags: dict[str, str]) -> None:
        held = self.store.held()
        wrong = [
            f"{self.store.shown}/{clean(name)}: was changed while this run was publishing"
            for name, what in new.items()
            if name not in held
            or held[name].bytes != what.bytes
            or (held[name].tag != tags[name] and self._sha256(name) != what.sha256)
        ]
        if wrong:
            raise MachineFault(wrong, hint="does another machine write there? Start again when it has ended")

    def _tidy(self, there: _There, keep: set[str]) -> None:
        """Removes what older outputs left. The output is complete by now, so a failure is only logged."""
        owned = set(there.journal or ())
        if there.manifest is not None:
            owned.update(object_names(there.manifest))
        try:
            for name in sorted(owned - keep - {MANIFEST, JOURNAL}):
                if _may_go(name) and name in there.held:
                    self.store.remove(name)
            if there.journal is not None:
                self.store.remove(JOURNAL)
        except (MachineFault, UsageFault) as fault:
            self.log(f"warning: the output is complete, but cleaning up failed: {fault.problems[0]}")

    # --- the folder ---------------------------------------------------------------------------------------------------

    def discard(self) -> None:
        """Empties the folder but for its cache, which `publish.clean` removes with the lock."""
        for entry in sorted(self.folder.iterdir()):
            if entry.name != CACHE:
                remove_tree(entry)

    def named(self, fault: BusyFault) -> BusyFault:
        """The error of a second run, in terms of the URL."""
        return BusyFault([line.replace(str(self.folder), self.store.shown, 1) for line in fault.problems],
                         hint=fault.hint)  # fmt: skip


class _There(NamedTuple):
    """What a store holds: every object, the manifest in force, and the names in the journal of a run that died."""

    held: dict[str, Held]
    manifest: dict[str, Any] | None
    journal: list[str] | None


def object_names(manifest: dict[str, Any]) -> Iterator[str]:
    """Names of all objects of an output but the manifest: the files that it lists, and those for `datasets`."""
    yield from listed_files(manifest)
    yield "dataset_dict.json"
    for split in manifest["splits"]:
        yield from (f"{split}/dataset_info.json", f"{split}/state.json")


def _listed(manifest: dict[str, Any]) -> dict[str, What]:
    return {name: What(about["bytes"], about["sha256"]) for name, about in listed_files(manifest).items()}


def _manifest_of(data: bytes | None, where: str) -> dict[str, Any] | None:
    """A manifest that can be relied on, else None."""
    if data is None:
        return None
    try:
        manifest = parse_manifest(data, where)
    except (DataFault, UsageFault):
        return None
    return None if changed(manifest, data) else manifest


def _journal_of(names: Collection[str]) -> bytes:
    return orjson.dumps({"schema_version": 1, "files": sorted(names)})


def _journal(data: bytes | None) -> list[str] | None:
    """The names in a journal, none when it is damaged; None when it is no journal of ours."""
    if data is None or not data.startswith(_JOURNAL_START):
        return None
    try:
        names = orjson.loads(data)["files"]
    except (ValueError, TypeError, KeyError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _may_go(name: str) -> bool:
    """Whether prep may remove an object: an entry in a manifest or a journal from elsewhere is not enough."""
    return not lies_outside(name) and is_output(Path(name).parts[0]) and not name.endswith(TEMPORARY)
