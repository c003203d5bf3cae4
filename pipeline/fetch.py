"""Fetch: outputs behind a URL, read. `prep verify` streams them; everything else works on a copy in the user's cache.

    s3://bucket/sft/manifest.json ──> every file that it names ──> ~/.cache/prep/sft-<digest>.copy

A copy is made like any output: each file is checked against the manifest while it arrives, and the copy appears whole.
What an interrupted fetch got, and what an older copy holds, is not fetched again. Where the output was made on this
machine, its staging folder is the copy. A manifest from elsewhere is untrusted: it is held against its schema and its
own digest, names that lead outside are refused, and no file is read past the size that it states.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from registry.errors import BusyFault, DataFault, UsageFault
from stages import files
from stages.files import create, make_folder, remove_tree, sync_folder, write_whole
from stages.findings import clean

from .manifest import NAME as MANIFEST
from .manifest import dump, parse_manifest, read_manifest
from .publish import CACHE, locked, new_build, open_output, publish
from .store import Store, cache_folder, is_store, local_folder
from .verify import lies_outside, listed_files, self_digest

JOURNAL = "publishing.json"  # there while an output is being replaced
MANIFEST_BYTES_MOST = 256 << 20  # 300,000 shards
STAGING, COPY = "", ".copy"
_FETCHED = "fetched"
_AGAIN = "run `prep pack` again"
Say = Callable[[str], None]


def _quiet(line: str) -> None:
    """Nobody listens."""


def fetch_manifest(url: str) -> dict[str, Any]:
    """The manifest of an output behind a URL.

    Raises UsageFault when there is none or its version is not ours, DataFault when it is damaged.
    """
    store = Store(url)
    data = store.read(MANIFEST, MANIFEST_BYTES_MOST)
    if data is not None:
        return checked_manifest(data, f"{store.shown}/{MANIFEST}")
    if store.about(JOURNAL) is not None:
        raise UsageFault(
            f"{store.shown}: is being published, or a run that published it has died",
            hint="wait, or start `prep pack` again: it goes on where it stopped",
        )
    raise UsageFault(
        f"{store.shown}: no {MANIFEST} there, so it holds no finished output",
        hint="make one with `prep pack CONFIG.yaml -o URL`",
    )


def checked_manifest(data: bytes, where: str) -> dict[str, Any]:
    """A manifest from elsewhere, held against its schema. Raises as `read_manifest` does."""
    import jsonschema_rs

    from schemas import load

    manifest = parse_manifest(data, where)
    error = next(jsonschema_rs.validator_for(load("manifest")).iter_errors(manifest), None)
    if error is not None:
        place = "".join(f"/{part}" for part in error.instance_path)
        raise DataFault(f"{where}: not a manifest of prep ({clean(place) or 'its top level'})", hint=_AGAIN)
    return manifest


def open_folder(out: str | os.PathLike[str], say: Say = _quiet) -> Path:
    """An output as a folder on this machine: a path as it is, a URL as its local copy."""
    return local_copy(os.fspath(out), say) if is_store(out) else local_folder(out)


def local_copy(url: str, say: Say = _quiet) -> Path:
    """A folder that holds every listed file of an output behind a URL, as its manifest says.

    Raises UsageFault, DataFault (a file is not as the manifest says), MachineFault, or BusyFault when another run
    fetches it at this moment.
    """
    store, manifest = Store(url), fetch_manifest(url)
    if manifest.get("sha256") != self_digest(manifest):
        raise DataFault(f"{store.shown}/{MANIFEST}: has been changed", hint=_AGAIN)
    for folder in (cache_folder(url, STAGING), cache_folder(url, COPY)):
        if _is_copy(folder, manifest):
            return folder
    _fetch(store, manifest, folder, say)
    return folder


def _is_copy(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether a folder holds what a manifest describes. Contents were checked when they were written."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        if read_manifest(folder).get("sha256") != manifest["sha256"]:
            return False
    except (DataFault, UsageFault):
        return False
    return all(_size(folder / name) == about["bytes"] for name, about in listed_files(manifest).items())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _fetch(store: Store, manifest: dict[str, Any], folder: Path, say: Say) -> None:
    wanted = listed_files(manifest)
    outside = [f"{store.shown}/{clean(name)}: lies outside the output" for name in wanted if lies_outside(name)]
    if outside:
        raise DataFault(outside, hint="this manifest was not written by prep")
    open_output(folder)
    try:
        with locked(folder):
            build, fetched = new_build(folder), folder / CACHE / _FETCHED
            make_folder(fetched)
            have = _kept(folder)
            missing = {
                name: about
                for name, about in wanted.items()
                if about["sha256"] not in have and _size(fetched / about["sha256"]) != about["bytes"]
            }
            total = sum(about["bytes"] for about in missing.values())
            say(f"fetching {len(missing)} of {len(wanted)} files, {total / 1e6:,.1f} MB, to {folder}")
            for name, about in wanted.items():
                make_folder((build / name).parent)
                source = have.get(about["sha256"]) or fetched / about["sha256"]
                if _size(source) != about["bytes"]:
                    _download(store, name, about, source := fetched / about["sha256"])
                _put(source, build / name)
            write_whole(build / MANIFEST, dump(manifest))
            for place in {build, *((build / name).parent for name in wanted)}:
                sync_folder(os.fspath(place))
            if warning := publish(build, folder):
                say(f"warning: {warning}")
            remove_tree(folder / CACHE / _FETCHED)
    except BusyFault:
        raise BusyFault(f"{store.shown}: another run is fetching it to {folder}", hint="wait for it to end") from None


def _kept(folder: Path) -> dict[str, Path]:
    """sha256 -> file of an older copy."""
    try:
        older = listed_files(read_manifest(folder))
    except (DataFault, UsageFault):
        return {}
    return {about["sha256"]: folder / name for name, about in older.items() if _size(folder / name) == about["bytes"]}


def _download(store: Store, name: str, about: dict[str, Any], target: Path) -> None:
    place = f"{store.shown}/{clean(name)}"

    def save(blocks: Iterator[bytes]) -> None:
        with create(target) as sink:  # leaves nothing when what it got is not what was promised
            for block in blocks:
                sink.write(block)
                if sink.size_bytes > about["bytes"]:
                    raise DataFault(f"{place}: more than {about['bytes']} bytes", hint=_AGAIN)
            if sink.size_bytes != about["bytes"]:
                raise DataFault(f"{place}: {sink.size_bytes} bytes instead of {about['bytes']}", hint=_AGAIN)
            if sink.sha256 != about["sha256"]:
                raise DataFault(f"{place}: its content has changed (sha256 differs)", hint=_AGAIN)

    store.through(name, save)


def _put(source: Path, target: Path) -> None:
    """A hard link, so that neither an interrupted fetch nor an older copy loses the file; else a move or a copy."""
    try:
        files.operations.link(os.fspath(source), os.fspath(target))
    except OSError:
        with open(source, "rb") as handle, create(target) as sink:
            while block := handle.read(1 << 20):
                sink.write(block)


# --- for `prep verify` ------------------------------------------------------------------------------------------------


class StoreFiles:
    """The files of an output behind a URL, for `verify.differences`: each read once, a block at a time."""

    def __init__(self, url: str, manifest: dict[str, Any]) -> None:
        self._store = Store(url)
        self._held = self._store.held(sorted(listed_files(manifest)))

    def size(self, name: str) -> int | None:
        """Bytes of an object, None when there is none."""
        return self._held[name].bytes if name in self._held else None

    def content(self, name: str, *, rows: bool) -> tuple[str, int]:
        """sha256 of an object and, if asked for, its rows (-1: not an Arrow stream)."""
        return self._store.through(name, lambda blocks: digest_of(blocks, rows=rows))

    def names(self, folder: str) -> list[str]:
        """Names of the objects right below a folder of the output, sorted (none on a web server)."""
        inside = [name.removeprefix(f"{folder}/") for name in sorted(self._held) if name.startswith(f"{folder}/")]
        return [name for name in inside if "/" not in name]


class _Hashed(io.RawIOBase):
    """Blocks as a file that can be read forward, hashed on the way."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            block = next(self._blocks, b"")
            self.digest.update(block)
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def digest_of(blocks: Iterator[bytes], *, rows: bool) -> tuple[str, int]:
    """sha256 of blocks and, if asked for, the rows of the Arrow stream that they are (-1: they are none)."""
    import pyarrow as pa

    source, count = _Hashed(blocks), 0
    if rows:
        try:
            with pa.ipc.open_stream(pa.PythonFile(io.BufferedReader(source), mode="r")) as reader:
                count = sum(batch.num_rows for batch in reader)
        except pa.ArrowInvalid:
            count = -1
    for block in blocks:  # what Arrow did not need
        source.digest.update(block)
    return source.digest.hexdigest(), count
