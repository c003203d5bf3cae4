"""Damage that shows without reading every file: what `prep pack` looks for before it says "up to date".

    .cache/files.json     the time of each file's last change, as it was when the output was made

A file is as it was when its size and its time are. Every other is hashed, and so are all that changed after the
manifest where the cache is gone. The manifest itself is read whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from registry.errors import DataFault
from stages.core.atomic_io import write_whole
from stages.core.manifest_document import changed
from stages.core.plain_file import kind_of, read_plain

from .manifest import CACHE, MANIFEST, STAMPS, lies_outside, listed_files
from .tree import entries, not_folders, strangers
from .verify import file_sha256


def write_stamps(build: Path, names: Iterable[str]) -> None:
    """Keeps the times of a finished build's files, in its cache."""
    stamps = {name: os.stat(build / name).st_mtime_ns for name in names}
    write_whole(build / CACHE / STAMPS, orjson.dumps(stamps))


def visible_damage(out: Path, manifest: dict[str, Any], text: bytes) -> str:
    """The first thing in which an output is not as its manifest says, an empty string when nothing can be seen.

    text: the manifest's bytes. Raises MachineFault when a folder may not be read.
    """
    found, listed, stamps = entries(out), listed_files(manifest), _stamps(out)
    if said := changed(manifest, text):
        return f"{MANIFEST} {said}"
    own = found.get(MANIFEST)
    if own is None or kind_of(own.st_mode):
        return f"{MANIFEST} is not a file"
    for name, about in listed.items():
        held = found.get(name)
        if held is None or lies_outside(name):
            return f"{name} is missing"
        if kind := kind_of(held.st_mode):
            return f"{name} is {kind}"
        # hashing all of a large output takes minutes
        same = held.st_mtime_ns == stamps.get(name) if stamps else _older(held, own)
        if held.st_size != about["bytes"] or (not same and file_sha256(out / name) != about["sha256"]):
            return f"{name} is damaged"
    more = strangers(not_folders(found), listed, manifest["splits"])[0]
    return f"{more[0]} is not in the manifest" if more else ""


def _older(held: os.stat_result, manifest: os.stat_result) -> bool:
    """Whether a file was last changed before the manifest, which is the last to be written."""
    return held.st_mtime_ns <= manifest.st_mtime_ns and held.st_ctime_ns <= manifest.st_ctime_ns


def _stamps(out: Path) -> dict[str, int]:
    try:
        found = orjson.loads(read_plain(out / CACHE / STAMPS))
    except (OSError, ValueError, DataFault):
        return {}
    return found if isinstance(found, dict) else {}
