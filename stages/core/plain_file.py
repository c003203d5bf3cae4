"""Plain files: reading what is a file and nothing else; a FIFO, a device or a socket in its place is never opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from registry.errors import DataFault

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of(mode: int) -> str:
    """What stands at a place, in words, by the mode of its stat; an empty string for a file."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def require_plain(path: str | os.PathLike[str]) -> None:
    """Raises DataFault when a path leads to something that is no file, OSError when there is nothing."""
    kind = kind_of(os.stat(path).st_mode)
    if kind:
        raise DataFault(f"{os.fspath(path)}: is {kind}, not a file", hint="remove it, and run `prep pack` again")


def read_plain(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file, links followed. Raises DataFault when it is no file, OSError when it cannot be read."""
    require_plain(path)
    return Path(path).read_bytes()
