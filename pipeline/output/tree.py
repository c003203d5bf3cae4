"""Tree: what lies in an output, by name and without opening anything, and which of it the manifest does not know."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from registry.errors import unreadable

from .manifest import CACHE, MANIFEST, is_output

_DATASETS_CACHE = re.compile(r"cache-\w+\.arrow")  # left beside the shards by `datasets` when it maps over them


def entries(out: Path) -> dict[str, os.stat_result]:
    """Every entry below an output by its name with slashes, folders included, links not followed; not the cache.

    Raises UsageFault when there is no such folder, MachineFault when one may not be read.
    """
    found: dict[str, os.stat_result] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(out / folder) as listing:
                for entry in listing:
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if name == CACHE:
                        continue
                    found[name] = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)
        except OSError as error:
            raise unreadable(error, out / folder) from error
    return found


def strangers(names: Iterable[str], listed: Iterable[str], splits: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names of files that a manifest does not list: those in prep's own places, and the others, which are the user's.

    Of a folder of the user's only the folder is named.
    """
    known, split_names = {*listed, MANIFEST}, frozenset(splits)
    ours: list[str] = []
    others: dict[str, None] = {}
    for name in sorted(set(names) - known):
        parts = name.split("/")
        if not is_output(parts[0], split_names):
            others.setdefault(parts[0])
        elif parts[0] in split_names and _DATASETS_CACHE.fullmatch(parts[-1]):
            others.setdefault(name)
        else:
            ours.append(name)
    return ours, list(others)


def not_folders(found: dict[str, os.stat_result]) -> Iterator[str]:
    """The names that are no folders."""
    yield from (name for name, about in found.items() if not stat.S_ISDIR(about.st_mode))
