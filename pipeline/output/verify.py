"""Verify: every file of an output against its manifest, and the manifest against itself. An Arrow stream has no
checksum of its own and may lose its tail without an error; size, rows and sha256 close that.

Covered is every byte below OUT but for `.cache` and the values of the manifest's `run` block: each file is listed with
its size and digest, a file that is not listed is named, and the manifest's text must be the one that its content gives.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from registry.errors import DataFault
from stages.core.manifest_document import changed
from stages.core.plain_file import kind_of

from .manifest import MANIFEST, lies_outside, listed_files
from .tree import entries, not_folders, strangers

HINT = "delete what is damaged and run `prep pack` again: it makes anew what is missing or was changed"


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Digest of a file, as hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Place(NamedTuple):
    """What stands under a name. kind: in words when it is no file, else an empty string."""

    bytes: int
    kind: str = ""


class Files(Protocol):
    """The files of an output and what they should be: a folder, or the objects of a store. text: of the manifest."""

    @property
    def manifest(self) -> dict[str, Any]: ...
    @property
    def text(self) -> bytes: ...
    def place(self, name: str) -> Place | None: ...
    def content(self, name: str, *, rows: bool) -> tuple[str, int]: ...
    def names(self) -> list[str]: ...


class FolderFiles:
    """The files of a local output, as they were when this was made. Links are not followed."""

    def __init__(self, root: Path, manifest: dict[str, Any], text: bytes) -> None:
        self.root = root
        self.manifest = manifest
        self.text = text
        self._entries = entries(root)
        self._listed = listed_files(manifest)

    def place(self, name: str) -> Place | None:
        """What stands under a name, None when there is nothing."""
        found = self._entries.get(name)
        return None if found is None else Place(found.st_size, kind_of(found.st_mode))

    def content(self, name: str, *, rows: bool) -> tuple[str, int]:
        """sha256 of a file and, if requested, its rows (-1: not an Arrow stream, or not the one that was written)."""
        path = self.root / name
        with _opened(path) as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        whole = digest == self._listed[name]["sha256"]  # Arrow is not handed bytes that are known to be damaged
        return digest, (_rows(path) if whole else -1) if rows else 0

    def names(self) -> list[str]:
        """Names of all files and of what stands in the place of one, sorted."""
        return sorted(not_folders(self._entries))


def _opened(path: Path) -> io.BufferedReader:
    """A file to read, and nothing that has taken its place since it was looked at."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    handle = open(fd, "rb")  # noqa: SIM115  # closed by who reads
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        handle.close()
        raise DataFault(f"{path}: is no file any more", hint=HINT)
    return handle


def _rows(path: Path) -> int:
    import pyarrow as pa  # a folder can be opened without

    try:
        with pa.memory_map(os.fspath(path)) as source:
            return sum(batch.num_rows for batch in pa.ipc.open_stream(source))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's; Arrow's own have no number
            raise
        return -1


def problems(held: Files) -> list[str]:
    """Everything in which an output's files are not as its manifest says, one line each; empty when it is whole.

    Raises MachineFault when a store cannot be read.
    """
    manifest = held.manifest
    said = changed(manifest, held.text)
    wrong = [f"{MANIFEST}: {said}"] if said else []
    own = held.place(MANIFEST)
    if own is not None and own.kind:
        wrong.append(f"{MANIFEST}: is {own.kind} instead of a file")
    named = listed_files(manifest)
    wrong += [problem for name, about in sorted(named.items()) if (problem := _problem(held, name, about))]
    wrong += [f"{name}: is not in the manifest" for name in strangers(held.names(), named, manifest["splits"])[0]]
    for name, split in manifest["splits"].items():
        for key in ("rows", "tokens"):
            summed = sum(shard[key] for shard in split["shards"])
            if summed != split[key]:
                wrong.append(f"manifest.json: {name}: shards have {summed} {key}, the split says {split[key]}")
    return wrong


def _problem(held: Files, name: str, about: dict[str, Any]) -> str:
    """In what one file is not as the manifest says, an empty string when it is."""
    if lies_outside(name):
        return f"{name}: lies outside the output"
    place = held.place(name)
    if place is None:
        return f"{name}: is missing"
    if place.kind:
        return f"{name}: is {place.kind} instead of a file"
    if place.bytes != about["bytes"]:
        return f"{name}: {place.bytes} bytes instead of {about['bytes']}"
    digest, rows = held.content(name, rows="rows" in about)
    if digest != about["sha256"]:
        return f"{name}: its content has changed (sha256 differs)"
    if "rows" in about and rows != about["rows"]:
        return f"{name}: {rows} rows instead of {about['rows']}"
    return ""


def notes(held: Files) -> list[str]:
    """Files and folders in an output that are no part of it, one line each: `prep pack` leaves them where they are."""
    others = strangers(held.names(), listed_files(held.manifest), held.manifest["splits"])[1]
    return [f"{name}: is not a part of the output" for name in others]
