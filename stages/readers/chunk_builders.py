"""Rows of a table or of plain text, rendered to JSON lines so that every later stage sees one shape.

A row that cannot be rendered keeps its raw bytes and carries the reason.

Chunks whose records are spans of bytes: the elements of a JSON array, objects spread over lines.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import orjson
import xxhash

from stages.core.findings import Note
from stages.core.records import Chunk, Limits, Record
from stages.parse.diagnose import reason

from .jsonl import too_long

_PLACES = 4  # int64 a row in a chunk's spans: start, end in data; line and byte offset in the file


class Row(NamedTuple):
    """A rendered row. line: 1-based in the file, or the row's number. byte_offset, byte_end: in the file, or -1."""

    data: bytes
    line: int
    byte_offset: int
    byte_end: int
    note: Note | None = None


def row_chunks(path: str, rows: Iterable[Row], limits: Limits, kind: str = "rows") -> Iterator[Chunk]:
    """Chunks of kind "rows" or "cells", in order, each with its data."""
    index = first = count = size = 0
    parts: list[bytes] = []
    places = array("q")
    marks: list[tuple[int, Note]] = []
    for row in rows:
        places.extend((size, size + len(row.data), row.line, row.byte_offset))
        if row.note is not None:
            marks.append((count, row.note))
        parts.append(row.data)
        size += len(row.data) + 1
        count += 1
        if size >= limits.chunk_bytes or count >= limits.chunk_records:
            yield _filled(Chunk(path, index, kind, 0, row.byte_end, 0, first, count), parts, places, marks)
            index, first, count, size = index + 1, first + count, 0, 0
            parts, places, marks = [], array("q"), []
    if count:
        yield _filled(Chunk(path, index, kind, 0, row.byte_end, 0, first, count), parts, places, marks)


def _filled(frame: Chunk, parts: list[bytes], places: array[int], marks: list[tuple[int, Note]]) -> Chunk:
    """The chunk with its rows, and with the place of the first one."""
    data = b"\n".join(parts)
    return frame._replace(start=places[3], first_line=places[2], data=data, spans=places.tobytes(), marks=tuple(marks))


def row_records(data: bytes, chunk: Chunk) -> list[Record]:
    """The records of a chunk of rows."""
    places = array("q")
    places.frombytes(chunk.spans or b"")
    values = iter(places)
    rows = zip(values, values, values, values, strict=True)
    return [
        Record(data[start:end], line, number, offset)
        for number, (start, end, line, offset) in enumerate(rows, chunk.first_record)
    ]


class Line(NamedTuple):
    """A physical line without its end. size: its full length, more than len(data) when it was cut."""

    data: bytes
    number: int
    offset: int
    size: int


def physical_lines(
    blocks: Iterable[bytes], start: int, limits: Limits, blank_matters: Callable[[], bool] = lambda: False
) -> Iterator[Line]:
    """The lines of a stream of blocks; one over the limit is cut to `cut_bytes`.

    Args:
        blocks: The bytes.
        start: Offset of the first block in the file.
        limits: The bounds.
        blank_matters: Whether lines with nothing in them are wanted right now; else whole blocks of them are left out.
    """
    number = 1
    offset = start
    head = b""
    size = 0  # of the unfinished line
    for block in blocks:
        if not size and block.endswith(b"\n") and not block.strip(b"\r\n") and not blank_matters():
            number += block.count(b"\n")
            offset += len(block)
            continue
        lines = block.split(b"\n")
        for data in lines[:-1]:
            if size or len(data) > limits.line_bytes:
                size += len(data)
                data = (head + data) if size <= limits.line_bytes else (head + data)[: limits.cut_bytes]
                yield Line(data, number, offset, size)
                offset += size + 1
                head, size = b"", 0
            else:
                yield Line(data, number, offset, len(data))
                offset += len(data) + 1
            number += 1
        head += lines[-1][: max(0, limits.line_bytes + 1 - len(head))]
        size += len(lines[-1])
    if size:
        yield Line(head if size <= limits.line_bytes else head[: limits.cut_bytes], number, offset, size)


def text_rows(blocks: Iterable[bytes], start: int, limits: Limits) -> Iterator[Row]:
    """Plain text: one row a line, under the key `text`. Blank lines are no rows."""
    for line in physical_lines(blocks, start, limits):
        data = line.data[:-1] if line.data.endswith(b"\r") else line.data
        if not data or data.isspace():
            continue
        end = line.offset + line.size + 1
        if line.size > len(line.data):
            note = too_long(line.size, limits.line_bytes, data)
            yield Row(data, line.number, line.offset, end, note)
            continue
        try:
            yield Row(orjson.dumps({"text": data.decode()}), line.number, line.offset, end)
        except UnicodeDecodeError:
            yield Row(data, line.number, line.offset, end, reason(data))


class SpanChunks:
    """Collects spans into chunks. `records` counts what was added.

    keep: the chunks carry their bytes.
    """

    def __init__(self, path: str, kind: str, limits: Limits, *, keep: bool) -> None:
        self.path = path
        self.kind = kind
        self.limits = limits
        self.keep = keep
        self.records = 0
        self._index = 0
        self._reset()

    def _reset(self) -> None:
        self._start = -1
        self._end = -1
        self._line = 0
        self._first = self.records
        self._spans = array("q")
        self._marks: list[tuple[int, Note]] = []
        self._parts: list[bytes] = []
        self._digest = xxhash.xxh3_128()

    def add(
        self, piece: bytes, at: int, line: int, spans: Sequence[int], marks: Sequence[tuple[int, Note]] = ()
    ) -> Iterator[Chunk]:
        """`piece`: the next bytes of the file, from offset `at` and 1-based `line`. `spans`: start, end, start, ...
        inside it. `marks`: (which of these spans, note). Pieces leave no hole between them unless `close` is called.
        """
        if self._start < 0:
            self._start, self._line = at, line
        base = at - self._start
        count = len(self._spans) // 2
        self._marks += [(count + which, note) for which, note in marks]
        self._spans.extend([base + place for place in spans] if base else spans)
        self.records += len(spans) // 2
        self._digest.update(piece)
        if self.keep:
            self._parts.append(piece)
        self._end = at + len(piece)
        full = self.records - self._first >= self.limits.chunk_records
        if full or self._end - self._start >= self.limits.chunk_bytes:
            yield from self.close()

    def close(self) -> Iterator[Chunk]:
        """The open chunk, if it holds records."""
        if self._spans:
            yield Chunk(
                self.path,
                self._index,
                self.kind,
                self._start,
                self._end,
                self._line,
                self._first,
                self.records - self._first,
                b"".join(self._parts) if self.keep else None,
                self._spans.tobytes(),
                tuple(self._marks),
                "" if self.keep else self._digest.hexdigest(),
            )
            self._index += 1
        self._reset()

    def oversized(self, start: int, end: int, line: int, head: bytes, note: Note) -> Iterator[Chunk]:
        """A record too long to handle, as a chunk of its own that carries only its `head`."""
        yield from self.close()
        self.records += 1
        spans = array("q", (0, len(head))).tobytes()
        number = self.records - 1
        yield Chunk(self.path, self._index, self.kind, start, end, line, number, 1, head, spans, ((0, note),))
        self._index += 1
        self._reset()


def span_records(data: bytes, chunk: Chunk) -> list[Record]:
    """The records of a chunk of spans."""
    places = array("q")
    places.frombytes(chunk.spans or b"")
    out = []
    line = chunk.first_line
    seen = 0
    pairs = iter(places)
    for number, (start, end) in enumerate(zip(pairs, pairs, strict=True), chunk.first_record):
        line += data.count(b"\n", seen, start)
        seen = start
        out.append(Record(data[start:end], line, number, chunk.start + start))
    return out
