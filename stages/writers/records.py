"""Containers out: records as JSON lines, a JSON array, Parquet or CSV, the text ones compressed if the name says so.

    rows of JSON  ->  .jsonl  .json   with .gz .zst .bz2 .xz   written as they come
                  ->  .csv  .parquet                           kept aside once: the columns are known at the end

Memory is bounded by a block of rows. Compressed bytes depend on the rows alone: no name, no time.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from registry.datasets.types import Fields
from registry.errors import UsageFault
from stages.core.atomic_io import Sink, create, machine_fault

ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
_ALIASES = {".ndjson": ".jsonl", ".pq": ".parquet"}
_COMPRESSED = {".gz": "gz", ".zst": "zst", ".bz2": "bz2", ".xz": "xz"}


class RowSink(Protocol):
    """Takes rows; `changed` says afterwards which columns the container could not hold as they are."""

    changed: dict[str, dict[str, int]]

    def add(self, lines: bytes, rows: int) -> None:
        """Takes `rows` rows: JSON objects, one a line, without a line end behind the last."""

    def finish(self) -> None:
        """Writes what is left. Nothing may be added afterwards."""


def container_of(path: str | os.PathLike[str]) -> tuple[str, str]:
    """(ending, compression or "") of an output's name. Raises UsageFault for a name that promises nothing we write."""
    root, last = os.path.splitext(os.fspath(path).lower())
    packed = _COMPRESSED.get(last, "")
    ending = os.path.splitext(root)[1] if packed else last
    ending = _ALIASES.get(ending, ending)
    if ending not in ENDINGS or (packed and ending == ".parquet"):
        raise UsageFault(
            f"{path}: the ending does not say what to write",
            hint=f"name it {', '.join(ENDINGS)}; the text ones also with {', '.join(_COMPRESSED)} behind",
        )
    return ending, packed


@contextlib.contextmanager
def open_rows(path: str | os.PathLike[str], *, flat: bool = True, fields: Fields | None = None) -> Iterator[RowSink]:
    """A sink for the rows of one file, which appears whole when the block ends without an exception. The block must
    end with its `finish`.

    Args:
        path: The file; its ending says the container and the compression.
        flat: Whether the records hold texts, and lists where a cell may spell one, as a CSV file needs.
        fields: The map under which they will be read, which says what of a cell is more than text.

    Raises:
        UsageFault: A container that cannot be written.
        MachineFault: The file cannot be written.
    """
    ending, packed = container_of(path)
    if ending == ".csv" and not flat:
        raise UsageFault(
            f"{path}: a CSV cell holds text, and these records hold lists of messages",
            hint="write .jsonl, .json or .parquet, or convert to alpaca",
        )
    with create(path) as sink:
        out: _Bytes = _Packed(sink, packed) if packed else sink
        if ending in (".jsonl", ".json"):
            yield Lines(out, array=ending == ".json")
        else:
            from .tables import open_table

            folder = os.path.dirname(os.fspath(path)) or "."
            try:
                with open_table(out, ending, folder, fields) as rows:
                    yield rows
            except OSError as error:
                raise machine_fault(error, path) from error
        if isinstance(out, _Packed):
            out.close()


@contextlib.contextmanager
def open_lines(path: str | os.PathLike[str], *, array: bool) -> Iterator[Lines]:
    """A sink for JSON records, whatever the file is called; compressed if its name says so. The block must end with
    its `finish`."""
    packed = _COMPRESSED.get(os.path.splitext(os.fspath(path).lower())[1], "")
    with create(path) as sink:
        out: _Bytes = _Packed(sink, packed) if packed else sink
        yield Lines(out, array=array)
        if isinstance(out, _Packed):
            out.close()


class _Bytes(Protocol):
    def write(self, data: bytes) -> int: ...


class Lines:
    """JSON lines, or a JSON array with a record a line."""

    def __init__(self, out: _Bytes, *, array: bool) -> None:
        self.changed: dict[str, dict[str, int]] = {}
        self._out = out
        self._array = array
        self._any = False

    def add(self, lines: bytes, rows: int) -> None:
        """Takes rows."""
        # a line break inside of a JSON text is always escaped, so every one here stands between records
        self.add_block(lines.replace(b"\n", b",\n") if self._array else lines, rows)

    def add_block(self, block: bytes, rows: int) -> None:
        """Takes records with what stands between them: a line end, and in an array a comma before it."""
        if not rows:
            return
        if self._array:
            self._out.write((b",\n" if self._any else b"[\n") + block)
        else:
            self._out.write(block + b"\n")
        self._any = True

    def finish(self) -> None:
        """Closes the array."""
        if self._array:
            self._out.write(b"\n]\n" if self._any else b"[]\n")


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _compressor(name: str) -> _Compressor:
    if name == "gz":
        return zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: a gzip frame, whose time and name zlib leaves empty
    if name == "bz2":
        import bz2

        return bz2.BZ2Compressor()
    if name == "xz":
        import lzma

        return lzma.LZMACompressor()
    import zstandard

    return zstandard.ZstdCompressor(write_checksum=True).compressobj()


class _Packed:
    """Bytes through a compressor."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self._compressor = _compressor(name)
        self._write: Callable[[bytes], int] = sink.write

    def write(self, data: bytes) -> int:
        """Compresses and writes; returns the length of `data`."""
        packed = self._compressor.compress(data)
        if packed:
            self._write(packed)
        return len(data)

    def close(self) -> None:
        """Writes what the compressor still holds."""
        self._write(self._compressor.flush())
