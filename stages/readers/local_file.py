"""Where bytes come from: a regular file, opened once and hashed while it is read.

Only regular files: a pipe or a device would block or never end.

Hashing runs in a thread beside the reader (hashlib lets go of the interpreter lock), a mebibyte behind it.
"""

from __future__ import annotations

import hashlib
import os
import queue
import stat
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from registry.errors import MachineFault, UsageFault
from stages.core.display import clean

_HASHED_BYTES = 1 << 20
_HOLES_BYTES = 64 << 20  # up to here zeros are read like anything else
_HOLES_RATIO = 1000


class Hasher:
    """sha256 of a stream of blocks. A long stream is hashed by a thread, a mebibyte at a time."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[list[bytes] | None] = queue.Queue(maxsize=2)  # so much memory at most
        self._thread: threading.Thread | None = None
        self._blocks: list[bytes] = []
        self._bytes = 0

    def update(self, block: bytes) -> None:
        """Takes a block; waits while too much is unhashed."""
        self._blocks.append(block)
        self._bytes += len(block)
        if self._bytes < _HASHED_BYTES:
            return
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="sha256", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no further thread may be started
                self._hash_here()
                return
            self._thread = thread
        self._queue.put(self._blocks)
        self._blocks, self._bytes = [], 0

    def _run(self) -> None:
        while (blocks := self._queue.get()) is not None:
            for block in blocks:
                self._hash.update(block)

    def _hash_here(self) -> None:
        for block in self._blocks:
            self._hash.update(block)
        self._blocks, self._bytes = [], 0

    def close(self) -> None:
        """Ends the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def hexdigest(self) -> str:
        """The digest of all blocks; none may follow."""
        self.close()
        self._hash_here()
        return self._hash.hexdigest()


class Source:
    """An open local file: `head` to sniff, `blocks` to read once from the start, `finish` for size and sha256.

    Raises UsageFault when there is no such file or it is no regular file, MachineFault when it cannot be read.
    """

    seekable = True

    def __init__(self, path: str, block_bytes: int) -> None:
        self.path = path
        self.block_bytes = block_bytes
        self.fd = open_regular(path)
        self.size = 0
        try:
            _refuse_holes(path, self.fd)
        except BaseException:
            os.close(self.fd)
            raise
        self._hasher = Hasher()
        self._ended = False

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hasher.close()
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self.fd)

    def head(self, size: int) -> bytes:
        """The first `size` bytes, without moving."""
        return self._guarded(lambda: os.pread(self.fd, size, 0))

    def blocks(self) -> Iterator[bytes]:
        """Blocks of the file's bytes, hashed on the way. May be left early; `finish` reads the rest."""
        while block := self._guarded(lambda: os.read(self.fd, self.block_bytes)):
            self.size += len(block)
            self._hasher.update(block)
            yield block
        self._ended = True

    def finish(self) -> tuple[str, int]:
        """sha256 (hexadecimal) and size of the whole file."""
        if not self._ended:
            self.block_bytes = 1 << 20
            for _ in self.blocks():
                pass
        return self._hasher.hexdigest(), self.size

    def total(self) -> int:
        """Size of the file in bytes."""
        return os.fstat(self.fd).st_size

    def table(self) -> Any:
        """A fresh pyarrow file over the same bytes, for formats that are read from their end."""
        import pyarrow as pa

        return pa.OSFile(self.path)

    def _guarded(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except OSError as error:
            raise MachineFault(f"{clean(self.path)}: {error.strerror}") from None


def open_regular(path: str) -> int:
    """A descriptor of a regular file. A named pipe does not hang: it is opened without waiting, then refused."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UsageFault(f"{clean(path)}: no such file") from None
    except OSError as error:
        raise MachineFault(f"{clean(path)}: {error.strerror}") from None
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    raise UsageFault(f"{clean(path)} is {kind_of(mode)}, not a file")


def _refuse_holes(path: str, fd: int) -> None:
    """Raises UsageFault for a file that is next to nothing but holes: it takes no room, and hours to read."""
    size = os.fstat(fd).st_size
    if size <= _HOLES_BYTES:
        return
    data = at = 0
    try:
        while at < size and data * _HOLES_RATIO < size:
            at = os.lseek(fd, at, os.SEEK_DATA)
            end = os.lseek(fd, at, os.SEEK_HOLE)
            data += end - at
            at = end
    except OSError:  # ENXIO: no data behind this place; a system that cannot tell calls everything data
        if data == 0 and at == 0 and os.fstat(fd).st_blocks:
            data = size
    os.lseek(fd, 0, os.SEEK_SET)
    if data * _HOLES_RATIO < size:
        raise UsageFault(
            f"{clean(path)}: {size:,} bytes, of which {data:,} are there and the rest are holes: no data was ever "
            "written to them",
            hint="fetch or write the file again: a copy or a download was cut short",
        )


def kind_of(mode: int) -> str:
    """What a path that is no regular file is, in words."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def read_range(path: str, start: int, end: int) -> bytes:
    """Bytes [start, end) of a file. Raises MachineFault when the file has become shorter or cannot be read."""
    fd = open_regular(path)
    try:
        parts = []
        while start < end:
            part = os.pread(fd, end - start, start)
            if not part:
                raise changed(path)
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    except OSError as error:
        raise MachineFault(f"{clean(path)}: {error.strerror}") from None
    finally:
        os.close(fd)


def changed(path: str) -> MachineFault:
    """The fault when a file is not what it was a moment ago."""
    return MachineFault(
        f"{clean(path)} changed while it was being read", hint="let its writer finish, then start again"
    )
