"""What reading produces: records, the chunks that hold them, what a file came to, and the bounds that hold for all.

file    | chunk 0        | chunk 1        | ... |       FileInfo
chunk   | record | record | record |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .findings import Note


class Record(NamedTuple):
    """One record's raw bytes and its place in the (decompressed) file.

    data: no newline, no trailing carriage return, no byte order mark. line: 1-based line where the record starts (for
    CSV the row's first line; for Parquet and Arrow the 1-based row). record: 0-based. byte_offset: where `data` starts.
    notes: what the reader found; a record whose bytes were cut carries the reason here.
    """

    data: bytes
    line: int
    record: int
    byte_offset: int
    notes: tuple[Note, ...] = ()


class Chunk(NamedTuple):
    """A run of whole records: the unit of work. Fixed by the file and `Limits` alone, never by the worker count.

    kind: "jsonl" (records are lines), "array" or "object" (records are `spans`), "rows" (JSON lines rendered from a
    table or from plain text, `spans` holding each row's line and byte offset in the file), "cells" (the same from CSV:
    every value is a text or null).
    start, end: byte range in the decompressed file, end exclusive. data: its bytes when a worker cannot fetch them by
    seeking (compressed, remote, rendered). spans: int64 pairs: (start, end) of each record inside the range, or
    (line, byte offset) for kind "rows". marks: (index of the record in the chunk, what the reader found).
    digest: xxh3-128 of the range's bytes, checked when a worker fetches them; "" when `data` is here.
    """

    path: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a chunk
    kind: str
    start: int
    end: int
    first_line: int
    first_record: int
    records: int
    data: bytes | None = None
    spans: bytes | None = None
    marks: tuple[tuple[int, Note], ...] = ()
    digest: str = ""


class FileInfo(NamedTuple):
    """What one file came to. sha256 and bytes are of the bytes on disk (before decompression).

    container: "jsonl", "array", "object", "csv", "tsv", "txt", "parquet", "arrow", "arrow-stream", or "" when the file
    holds nothing readable. notes: findings about the file as a whole.
    """

    path: str
    sha256: str
    bytes: int
    records: int
    container: str
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Limits:
    """Bounds on hostile or broken input. All sizes in bytes.

    chunk_bytes: a chunk closes at the first record that reaches it, or at `chunk_records` and what was read with the
    last of them. line_bytes: longest record. ratio and ratio_floor:
    decompressed bytes per compressed byte, enforced beyond the floor. window_bytes: largest zstd window.
    cut_bytes: how much of a record over the limit is kept to show. cell_bytes: largest CSV cell.
    records_floor, records_a_byte: records of a compressed file or a table, likewise: the same 64 bytes over and over,
    at the highest ratio that is allowed.
    """

    chunk_bytes: int = 4 << 20
    line_bytes: int = 16 << 20
    ratio: int = 1000
    ratio_floor: int = 64 << 20
    window_bytes: int = 1 << 27
    cut_bytes: int = 64 << 10
    cell_bytes: int = 16 << 20
    chunk_records: int = 1 << 16
    records_floor: int = 1 << 18
    records_a_byte: int = 16

    def too_many(self, records: int, inside: int) -> bool:
        """Whether a file of `inside` bytes holds more records than any data has."""
        return records > self.records_floor and records > inside * self.records_a_byte

    @property
    def block_bytes(self) -> int:
        """How much is read at once: a chunk's quarter, 16 bytes to 256 KiB (more would leave the CPU's cache)."""
        return max(16, min(1 << 18, self.chunk_bytes // 4))
