"""The one way to write: temporary name, write, fsync, rename, fsync of the folder.

Everything that prep leaves on disk goes through here, Arrow shards included, so that a test can make the Nth operation
fail or kill the process there. A file is either absent, the old one, or the whole new one. Temporary names end in
`.prep-tmp`; whatever a killed run left behind is removed by `sweep` at the next start.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from registry.errors import MachineFault

TEMPORARY = ".prep-tmp"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


class Operations(Protocol):
    """The mutating calls, so that tests can put a faulty set in their place."""

    def open(self, path: str, flags: int, mode: int) -> int: ...
    def write(self, fd: int, data: memoryview) -> int: ...
    def fsync(self, fd: int) -> None: ...
    def close(self, fd: int) -> None: ...
    def rename(self, old: str, new: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def mkdir(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def link(self, old: str, new: str) -> None: ...
    def exchange(self, one: str, other: str) -> None: ...


class _System:
    """The operating system's own calls."""

    def open(self, path: str, flags: int, mode: int) -> int:
        return os.open(path, flags, mode)

    def write(self, fd: int, data: memoryview) -> int:
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def mkdir(self, path: str) -> None:
        os.mkdir(path)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def link(self, old: str, new: str) -> None:
        os.link(old, new)

    def exchange(self, one: str, other: str) -> None:
        """Two paths change places in one step. Raises OSError (ENOSYS where the system has no such call)."""
        call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        if call is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), one)
        if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), one)


operations: Operations = _System()

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or give another folder with -o"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or give another folder with -o"),
    errno.EACCES: ("no permission", "give a folder that you may write to with -o"),
    errno.EPERM: ("not permitted", "give a folder that you may write to with -o"),
    errno.EROFS: ("the file system is read-only", "give another folder with -o"),
    errno.EIO: ("the disk reports an input/output error", "check the disk (dmesg); nothing of this run was published"),
    errno.ELOOP: ("there is a symbolic link in the way", "remove the link, or give another folder with -o"),
}


def machine_fault(error: OSError, path: str | os.PathLike[str]) -> MachineFault:
    """An OSError as the error a user can act on."""
    reason, hint = _REASONS.get(error.errno or 0, (os.strerror(error.errno or 0), ""))
    return MachineFault(f"{os.fspath(path)}: {reason}", hint=hint)


class Sink:
    """A file being written. Use `create`; `sha256` and `size_bytes` are known as soon as the last byte is written."""

    def __init__(self, fd: int, *, hashed: bool = True) -> None:
        self._fd = fd
        self._digest = hashlib.sha256() if hashed else None
        self.size_bytes = 0
        self.closed = False  # pyarrow asks

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Writes all of `data`; returns its length in bytes."""
        view = memoryview(data).cast("B")
        if self._digest is not None:
            self._digest.update(view)
        done = 0
        while done < len(view):
            done += operations.write(self._fd, view[done:])
        self.size_bytes += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing is buffered here; libraries call it."""

    @property
    def sha256(self) -> str:
        """Digest of everything written so far, as hex; empty when the file was opened without."""
        return self._digest.hexdigest() if self._digest is not None else ""


@contextlib.contextmanager
def create(path: str | os.PathLike[str], *, hashed: bool = True) -> Iterator[Sink]:
    """Writes a file whole: it appears under its name when the block ends without an exception, durable.

    hashed: its sha256 is wanted. Never follows a symbolic link, never writes into an existing file. Raises MachineFault
    with the reason.
    """
    target = os.fspath(path)
    temporary = f"{target}.{secrets.token_hex(4)}{TEMPORARY}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        fd = operations.open(temporary, flags, 0o666)
    except OSError as error:
        raise machine_fault(error, target) from error
    done = False
    try:
        sink = Sink(fd, hashed=hashed)
        try:
            yield sink
            operations.fsync(fd)
        finally:
            sink.closed = True
            operations.close(fd)
        operations.rename(temporary, target)
        done = True
        sync_folder(os.path.dirname(target) or ".")
    except OSError as error:
        raise machine_fault(error, target) from error
    finally:
        if not done:
            with contextlib.suppress(OSError):
                operations.unlink(temporary)


def write_whole(path: str | os.PathLike[str], data: bytes) -> str:
    """Writes a small file whole; returns its sha256."""
    with create(path) as sink:
        sink.write(data)
    return sink.sha256


def sync_folder(path: str) -> None:
    """Makes renames in a folder durable, as far as its file system can. Raises MachineFault."""
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            operations.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some network file systems sync files only
            raise machine_fault(error, path) from error


def make_folder(path: str | os.PathLike[str]) -> None:
    """Creates a folder and its parents; an existing one is fine. Raises MachineFault."""
    target = Path(path)
    try:
        for folder in [*reversed(target.parents), target]:
            if not folder.is_dir():
                with contextlib.suppress(FileExistsError):
                    operations.mkdir(os.fspath(folder))
        if not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file, not a folder")
    except OSError as error:
        raise machine_fault(error, target) from error


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Removes a file or a folder with all it holds, links not followed; an absent one is fine. Raises MachineFault."""
    target = os.fspath(path)
    try:
        if os.path.isdir(target) and not os.path.islink(target):
            with os.scandir(target) as entries:
                names = sorted(entry.path for entry in entries)
            for name in names:
                remove_tree(name)
            operations.rmdir(target)
        elif os.path.lexists(target):
            operations.unlink(target)
    except FileNotFoundError:
        return
    except OSError as error:
        raise machine_fault(error, target) from error


def sweep(folder: str | os.PathLike[str]) -> int:
    """Removes temporary files that a killed run left below a folder; returns how many."""
    removed = 0
    for root, _, names in os.walk(folder):
        for name in names:
            if name.endswith(TEMPORARY):
                remove_tree(os.path.join(root, name))
                removed += 1
    return removed
