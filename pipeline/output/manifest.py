"""The manifest: what an output holds and how it was made. It is written last, and nothing is complete without it.

Beside it here: the names of what prep writes into an output, and which folder is one of ours.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from registry.errors import DataFault
from stages.core.manifest_document import SCHEMA_VERSION as SCHEMA_VERSION
from stages.core.manifest_document import dump as dump
from stages.core.manifest_document import parse_manifest as parse_manifest
from stages.core.manifest_document import self_digest as self_digest
from stages.core.plain_file import read_plain

MANIFEST = "manifest.json"
CACHE = ".cache"
LOCK = "lock"
OWNER = "prep-output"  # marks a folder as ours, complete or not
KEYS = "keys.json"
STAMPS = "files.json"
BUILD = "build."
_TOP = frozenset({MANIFEST, CACHE, "README.md", "dataset_dict.json", "report.json", "lineage", "rejects", "train"})


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
    """Whether a file that a manifest names would not lie in its output, or in that of its cache."""
    parts = Path(name).parts
    return not parts or os.path.isabs(name) or ".." in parts or parts[0] == CACHE


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
        document = json.loads(read_plain(out / MANIFEST))
    except (OSError, ValueError, RecursionError, DataFault):
        return {}
    return document if isinstance(document, dict) else {}
