"""Verify: every file of an output against its manifest. An Arrow stream has no checksum of its own and may lose its
tail without an error; size, rows and sha256 close that."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from registry.errors import DataFault

from .manifest import read_manifest


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


def problems(out: str | os.PathLike[str]) -> list[str]:
    """Everything that is not as the manifest says, one line each; empty when the output is whole.

    Raises UsageFault or DataFault when there is no readable manifest.
    """
    root = Path(out)
    manifest = read_manifest(root)
    wrong = [] if manifest.get("sha256") in (None, self_digest(manifest)) else ["manifest.json: has been changed"]
    named = listed_files(manifest)
    for name, about in sorted(named.items()):
        path = root / name
        if os.path.isabs(name) or ".." in Path(name).parts:
            wrong.append(f"{name}: lies outside the output")
            continue
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            wrong.append(f"{name}: is missing")
            continue
        if size != about["bytes"]:
            wrong.append(f"{name}: {size} bytes instead of {about['bytes']}")
        elif file_sha256(path) != about["sha256"]:
            wrong.append(f"{name}: its content has changed (sha256 differs)")
        elif "rows" in about:
            rows = _rows(path)
            if rows != about["rows"]:
                wrong.append(f"{name}: {rows} rows instead of {about['rows']}")
    for split in manifest["splits"]:
        folder = root / split
        known = {Path(name).name for name in named if Path(name).parent.name == split}
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            if entry.suffix == ".arrow" and entry.name not in known:
                wrong.append(f"{split}/{entry.name}: is not in the manifest")
    for name, split in manifest["splits"].items():
        for key in ("rows", "tokens"):
            summed = sum(shard[key] for shard in split["shards"])
            if summed != split[key]:
                wrong.append(f"manifest.json: {name}: shards have {summed} {key}, the split says {split[key]}")
    return wrong


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


def verify(out: str | os.PathLike[str]) -> dict[str, Any]:
    """Checks an output and returns its manifest. Raises DataFault that names every file that is wrong."""
    wrong = problems(out)
    if wrong:
        raise DataFault([f"{os.fspath(out)}/{line}" for line in wrong], hint="run `prep pack` again")
    return read_manifest(out)
