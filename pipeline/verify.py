"""Verify: every file of an output against its manifest. An Arrow stream has no checksum of its own and may lose its
tail without an error; size, rows and sha256 close that."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from registry.errors import DataFault
from stages.read import public

from .manifest import read_manifest
from .store import is_store, local_folder


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Digest of a file, as hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def listed_files(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Relative path -> what the manifest says of it, for every file that it names."""
    named: dict[str, dict[str, Any]] = {}
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            named[shard["file"]] = shard
            named[shard["lineage"]["file"]] = shard["lineage"]
    for entry in manifest.get("files", ()):
        named[entry["file"]] = entry
    return named


class Files(Protocol):
    """Where an output's files lie: a folder, or a store."""

    def size(self, name: str) -> int | None: ...
    def content(self, name: str, *, rows: bool) -> tuple[str, int]: ...
    def names(self, folder: str) -> list[str]: ...


class _Folder:
    """The files of a local output."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def size(self, name: str) -> int | None:
        """Bytes of a file, None when there is none."""
        try:
            return (self.root / name).stat().st_size
        except FileNotFoundError:
            return None

    def content(self, name: str, *, rows: bool) -> tuple[str, int]:
        """sha256 of a file and, if asked for, its rows (-1: not an Arrow stream)."""
        return file_sha256(self.root / name), _rows(self.root / name) if rows else 0

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder of the output, sorted."""
        place = self.root / folder
        return sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []


def problems(out: str | os.PathLike[str]) -> list[str]:
    """Everything that is not as the manifest says, one line each; empty when the output is whole. OUT: folder or URL.

    Raises UsageFault or DataFault when there is no readable manifest, MachineFault when a store cannot be read.
    """
    manifest = read_manifest(out)
    if not is_store(out):
        return differences(manifest, _Folder(local_folder(out)))
    from .fetch import StoreFiles

    return differences(manifest, StoreFiles(os.fspath(out), manifest))


def differences(manifest: dict[str, Any], held: Files) -> list[str]:
    """Everything in which files are not as a manifest says, one line each."""
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


def lies_outside(name: str) -> bool:
    """Whether a file that a manifest names would not lie in its output."""
    return os.path.isabs(name) or ".." in Path(name).parts


def self_digest(manifest: dict[str, Any]) -> str:
    """Digest of a manifest without its `run` block and without the digest itself."""
    from .manifest import dump

    content = {key: value for key, value in manifest.items() if key not in ("run", "sha256")}
    return hashlib.sha256(dump(content)).hexdigest()


def _rows(path: Path) -> int:
    try:
        with pa.memory_map(os.fspath(path)) as source:
            return sum(batch.num_rows for batch in pa.ipc.open_stream(source))
    except pa.ArrowInvalid:
        return -1


MEND = "delete what is damaged and run `prep pack` again: it makes anew what is missing or was changed"


def verify(out: str | os.PathLike[str]) -> dict[str, Any]:
    """Checks an output and returns its manifest. Raises DataFault that names every file that is wrong."""
    wrong = problems(out)
    if wrong:
        raise DataFault([f"{public(os.fspath(out))}/{line}" for line in wrong], hint=MEND)
    return read_manifest(out)
