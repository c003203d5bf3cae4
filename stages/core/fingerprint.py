"""Fingerprints: everything that decides rows as plain values, and a digest of the code and data files that make them.

A field of a worker's spec is part of both keys unless its metadata says otherwise, so that a new one cannot be
forgotten: `RUN_ONLY` fields act after a chunk is cached, `CHUNK_ONLY` ones are proven not to change rows but unproven
chunks are kept apart by them, and `NEVER` fields cannot change what is written.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RUN_ONLY, CHUNK_ONLY, NEVER = ({"identity": word} for word in ("run", "chunk", "never"))
PACKAGES = ("schemas", "registry", "stages", "pipeline")
# the commands around a run, what only shows things, and training: none of it makes rows
HARMLESS = frozenset(
    {
        "stages/train", "pipeline/commands", "pipeline/reports", "pipeline/inspect", "pipeline/runs/train",
        "pipeline/runs/convert", "pipeline/runs/validate", "pipeline/cli.py", "pipeline/__main__.py",
        "pipeline/progress.py", "pipeline/installation.py",
    }
)  # fmt: skip


def canonical(value: object, scope: str) -> Any:
    """A value as JSON types. scope: "run" or "chunk", which key it is for. Raises TypeError for what has no form."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        listed = [f for f in dataclasses.fields(value) if f.metadata.get("identity", scope) == scope]
        return {f.name: canonical(getattr(value, f.name), scope) for f in listed}
    if isinstance(value, dict):
        return {str(name): canonical(value[name], scope) for name in sorted(value, key=str)}
    if isinstance(value, (frozenset, set)):
        return sorted((canonical(part, scope) for part in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [canonical(part, scope) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical form for a key")


@functools.cache
def code_digest(root: Path = Path(__file__).parents[2]) -> str:
    """Digest of the source and data files that make rows: every file of the four packages but those of HARMLESS, by
    name and content. root: the folder that holds the packages."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in _files(os.path.join(root, package), package):
            with open(path, "rb") as handle:
                data = handle.read()
            digest.update(f"{os.path.relpath(path, root)}\0{len(data)}\0".encode())
            digest.update(data)
    return digest.hexdigest()


def _files(folder: str, name: str) -> Iterator[str]:
    """Files below a folder in a fixed order; name: of the folder as HARMLESS has it."""
    with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        inner = f"{name}/{entry.name}"
        if inner in HARMLESS or entry.name == "__pycache__" or entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(entry.path, inner)
        elif not entry.name.endswith(".pyc"):
            yield entry.path
