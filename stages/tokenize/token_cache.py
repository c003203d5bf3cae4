"""TokenCache: a chunk's result on disk, so that packing again needs no tokenizer and a killed run starts where it was.

    "PREPSPL2" | u64 header bytes | xxh3 of the header | header JSON | padding | section | padding | section ...

The header names every section (dtype, offset, count), carries the chunk's own summary (`meta`) and an xxh3 digest of
all section bytes; it has a digest of its own, since a flipped digit in it would be a wrong count. Sections start at
multiples of 64 and are read one at a time with `pread`: a shard writer takes only the runs that it needs, so memory
does not grow with the set. A cache file's name is its content key: existing and whole means finished.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from stages.core.atomic_io import create

MAGIC = b"PREPSPL2"
ALIGN = 64
DIGEST_BYTES = 16
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
HEAD_BYTES = len(MAGIC) + 8 + DIGEST_BYTES


def write_token_cache(path: str, meta: Mapping[str, Any], sections: Mapping[str, NDArray[Any]]) -> None:
    """Writes a cache file whole.

    Args:
        path: The file, which appears only when all of it is written.
        meta: The chunk's summary: whatever JSON can hold.
        sections: Arrays by name, of any fixed-size dtype and shape (n,).

    Raises:
        MachineFault: It cannot be written.
    """
    table = {}
    digest = xxhash.xxh3_128()
    offset = 0
    for name, array in sections.items():
        data = np.ascontiguousarray(array)
        table[name] = [data.dtype.str, offset, int(data.size)]
        digest.update(data.data)
        offset += -(-data.nbytes // ALIGN) * ALIGN
    header = orjson.dumps({"meta": dict(meta), "sections": table, "xxh3": digest.hexdigest()})
    start = -(-(HEAD_BYTES + len(header)) // ALIGN) * ALIGN
    with create(path, hashed=False) as sink:  # it carries its own digest
        sink.write(MAGIC + len(header).to_bytes(8, "little") + xxhash.xxh3_128_digest(header) + header)
        sink.write(b"\0" * (start - sink.size_bytes))
        for array in sections.values():
            data = np.ascontiguousarray(array)
            if data.size:
                sink.write(data.data.cast("B"))
            sink.write(b"\0" * (-data.nbytes % ALIGN))


class TokenCache:
    """An open cache file. Close it, or use it as a context manager."""

    def __init__(self, path: str) -> None:
        """Raises ValueError when the file is not a whole cache file, FileNotFoundError when there is none."""
        self.path = path
        self._fd = os.open(path, _FLAGS)
        try:
            head = os.pread(self._fd, HEAD_BYTES, 0)
            size = int.from_bytes(head[len(MAGIC) : len(MAGIC) + 8], "little")
            file_bytes = os.fstat(self._fd).st_size
            if head[: len(MAGIC)] != MAGIC or size > file_bytes:
                raise ValueError(f"{path}: not a cache file")
            data = os.pread(self._fd, size, HEAD_BYTES)
            if xxhash.xxh3_128_digest(data) != head[-DIGEST_BYTES:]:
                raise ValueError(f"{path}: its header is damaged")
            header = orjson.loads(data)
            self.meta: dict[str, Any] = header["meta"]
            self._sections: dict[str, list[Any]] = header["sections"]
            self._xxh3: str = header["xxh3"]
            self._start = -(-(HEAD_BYTES + size) // ALIGN) * ALIGN
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> TokenCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; `section` and `read_into` open it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def forget_meta(self) -> TokenCache:
        """Lets go of the chunk's summary, which is larger than the rest of the header; returns this cache."""
        self.meta = {}
        return self

    def names(self) -> list[str]:
        """The sections' names."""
        return list(self._sections)

    def section(self, name: str, start: int = 0, end: int | None = None) -> NDArray[Any]:
        """Items start to end (exclusive; None: to the last) of a section, shape (end - start,), in its own dtype.

        Raises:
            KeyError: No such section.
            ValueError: The file is shorter than its header says.
        """
        dtype, _, count = self._sections[name]
        out = np.empty((count if end is None else end) - start, dtype=np.dtype(dtype))
        self.read_into(name, start, out)
        return out

    def read_into(self, name: str, start: int, out: NDArray[Any]) -> None:
        """Fills an array with a section's items.

        Args:
            name: The section.
            start: The first item.
            out: Array of the section's dtype, shape (n,); takes the items start to start + n.

        Raises:
            ValueError: The file is shorter than its header says.
        """
        offset = self._start + self._sections[name][1] + start * out.itemsize
        view = out.data.cast("B") if out.size else memoryview(b"")
        done = 0
        if self._fd < 0:
            self._fd = os.open(self.path, _FLAGS)
        while done < len(view):
            got = os.preadv(self._fd, [view[done:]], offset + done)
            if not got:
                raise ValueError("cache file is shorter than its header says")
            done += got

    def intact(self) -> bool:
        """Whether the sections still have the digest that was written. Reads everything once."""
        digest = xxhash.xxh3_128()
        try:
            for name in self._sections:
                data = self.section(name)
                digest.update(data.tobytes())
        except (ValueError, OSError):
            return False
        return digest.hexdigest() == self._xxh3
