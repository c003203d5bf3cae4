"""The manifest: what an output holds and how it was made. It is written last, and nothing is complete without it.

Beside it here: the names of what prep writes into an output, and which folder is one of ours.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from registry.errors import DataFault, UsageFault

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
CACHE = ".cache"
LOCK = "lock"
OWNER = "prep-output"  # marks a folder as ours, complete or not
KEYS = "keys.json"
BUILD = "build."
_TOP = frozenset({MANIFEST, CACHE, "README.md", "dataset_dict.json", "report.json", "lineage", "rejects", "train"})


def dump(document: dict[str, Any]) -> bytes:
    """The bytes of a manifest or report: sorted keys, so that equal content is equal bytes."""
    return (json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode("utf-8")


def parse_manifest(data: bytes, path: str) -> dict[str, Any]:
    """The manifest in some bytes. path: for messages.

    Raises UsageFault when its version is not ours, DataFault when it cannot be read as JSON.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise DataFault(
            f"{path}: not valid JSON: {error}", hint="the file is damaged: run `prep pack` again"
        ) from error
    if not isinstance(document, dict) or "splits" not in document:
        raise DataFault(f"{path}: not a manifest of prep", hint="run `prep pack` again")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageFault(
            f"{path}: schema_version {version!r} is not the one this prep reads ({SCHEMA_VERSION})",
            hint="use the prep that wrote it, or run `prep pack` again",
        )
    return document


def listed_files(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Relative path -> its entry (size, sha256, rows of a table), for every file that a manifest names."""
    named: dict[str, dict[str, Any]] = {}
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            named[shard["file"]] = shard
            named[shard["lineage"]["file"]] = shard["lineage"]
    for entry in manifest.get("files", ()):
        named[entry["file"]] = entry
    return named


def lies_outside(name: str) -> bool:
    """Whether a file that a manifest names would not lie in its output."""
    return os.path.isabs(name) or ".." in Path(name).parts


def self_digest(manifest: dict[str, Any]) -> str:
    """Digest of a manifest without its `run` block and without the digest itself."""
    content = {key: value for key, value in manifest.items() if key not in ("run", "sha256")}
    return hashlib.sha256(dump(content)).hexdigest()


# --- a folder of ours -------------------------------------------------------------------------------------------------


def is_ours(out: Path) -> bool:
    """Whether a folder holds an output of ours, finished or not."""
    cache = out / CACHE
    if (cache / OWNER).is_file():
        return True
    document = _manifest(out)
    if "schema_version" in document and "kind" in document:
        return True
    # a run that ended between its first two steps
    return (
        {entry.name for entry in out.iterdir()} == {CACHE}
        and cache.is_dir()
        and all(entry.name == LOCK or entry.name.startswith(OWNER) for entry in cache.iterdir())
    )


def is_output(name: str, splits: frozenset[str] = frozenset()) -> bool:
    """Whether an entry of OUT with this name is written by prep. splits: further names, of its splits."""
    return name in _TOP or name in splits or name.startswith("validation")


def splits_of(tree: Path) -> frozenset[str]:
    """Names of the splits of an output, none when it has no readable manifest."""
    splits = _manifest(tree).get("splits")
    return frozenset(splits) if isinstance(splits, dict) else frozenset()


def _manifest(out: Path) -> dict[str, Any]:
    try:
        document = json.loads((out / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
