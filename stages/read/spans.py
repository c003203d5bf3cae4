"""Chunks whose records are spans of bytes: the elements of a JSON array, objects spread over lines."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import xxhash

from stages.findings import Note

from .chunks import Chunk, Limits, Record


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
        if self._end - self._start >= self.limits.chunk_bytes:
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
