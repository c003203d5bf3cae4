"""Verify: every file of an output against its manifest. An Arrow stream has no checksum of its own and may lose its
tail without an error; size, rows and sha256 close that."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

from .manifest import lies_outside, listed_files, self_digest

HINT = "delete what is damaged and run `prep pack` again: it makes anew what is missing or was changed"


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Digest of a file, as hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Files(Protocol):
    """The files of an output and what they should be: a folder, or the objects of a store."""

    @property
    def manifest(self) -> dict[str, Any]: ...
    def size(self, name: str) -> int | None: ...
    def content(self, name: str, *, rows: bool) -> tuple[str, int]: ...  # sha256, rows (-1: not an Arrow stream)
    def names(self, folder: str) -> list[str]: ...


class FolderFiles:
    """The files of a local output."""

    def __init__(self, root: Path, manifest: dict[str, Any]) -> None:
        self.root = root
        self.manifest = manifest

    def size(self, name: str) -> int | None:
        """Bytes of a file, None when there is none."""
        try:
            return (self.root / name).stat().st_size
        except FileNotFoundError:
            return None

    def content(self, name: str, *, rows: bool) -> tuple[str, int]:
        """sha256 of a file and, if requested, its rows (-1: not an Arrow stream)."""
        return file_sha256(self.root / name), _rows(self.root / name) if rows else 0

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder of the output, sorted."""
        place = self.root / folder
        return sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []


def _rows(path: Path) -> int:
    import pyarrow as pa  # a folder can be opened without

    try:
        with pa.memory_map(os.fspath(path)) as source:
            return sum(batch.num_rows for batch in pa.ipc.open_stream(source))
    except pa.ArrowInvalid:
        return -1


def problems(held: Files) -> list[str]:
    """Everything in which an output's files are not as its manifest says, one line each; empty when it is whole.

    Raises MachineFault when a store cannot be read.
    """
    manifest = held.manifest
    wrong = [] if manifest.get("sha256") in (None, self_digest(manifest)) else ["manifest.json: has been changed"]
    named = listed_files(manifest)
    for name, about in sorted(named.items()):
        if lies_outside(name):
            wrong.append(f"{name}: lies outside the output")
            continue
        size = held.size(name)
        if size is None:
            wrong.append(f"{name}: is missing")
            continue
        if size != about["bytes"]:
            wrong.append(f"{name}: {size} bytes instead of {about['bytes']}")
            continue
        digest, rows = held.content(name, rows="rows" in about)
        if digest != about["sha256"]:
            wrong.append(f"{name}: its content has changed (sha256 differs)")
        elif "rows" in about and rows != about["rows"]:
            wrong.append(f"{name}: {rows} rows instead of {about['rows']}")
    for split in manifest["splits"]:
        known = {Path(name).name for name in named if Path(name).parent.name == split}
        for name in held.names(split):
            if name.endswith(".arrow") and name not in known:
                wrong.append(f"{split}/{name}: is not in the manifest")
    for name, split in manifest["splits"].items():
        for key in ("rows", "tokens"):
            summed = sum(shard[key] for shard in split["shards"])
            if summed != split[key]:
                wrong.append(f"manifest.json: {name}: shards have {summed} {key}, the split says {split[key]}")
    return wrong
