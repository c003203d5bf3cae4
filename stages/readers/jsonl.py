"""JSON lines: where chunks end while scanning, and a chunk's records when a worker takes it.

`\\n` is the only separator; U+2028 and other marks that `str.splitlines` honours are text. A blank line is a line
but no record. Scanning keeps one block in memory and, of a line that spans blocks, its length and its head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import xxhash

from stages.core.display import shown
from stages.core.findings import Note
from stages.core.records import Chunk, Limits, Record

_SAMPLE_BYTES, _LONG_LINE_BYTES = 4096, 256


class LineScanner:
    """Turns blocks of bytes into chunks of whole lines. `records`, `lines` and `carriage_returns` grow on the way.

    keep: the chunks carry their bytes (a worker cannot seek in the source). start: offset of the first block in the
    file, 3 behind a byte order mark.
    """

    def __init__(self, path: str, limits: Limits, *, keep: bool, start: int = 0) -> None:
        self.path = path
        self.limits = limits
        self.keep = keep
        self.records = 0
        self.lines = 0  # line ends seen
        self.carriage_returns = 0
        self._index = 0
        self._at = start  # offset of the next byte to come
        self._new_chunk(start)
        self._line_start = start  # of the unfinished line
        self._line_blank = True
        self._head = b""  # of the unfinished line, at most line_bytes when kept, else cut_bytes

    def scan(self, blocks: Iterable[bytes]) -> Iterator[Chunk]:
        """The chunks, in order."""
        last = b""
        for block in blocks:
            if not block:
                continue
            last = block[-1:]
            yield from self._feed(block)
        if last not in (b"", b"\n"):
            yield from self._feed(b"\n", virtual=True)
        yield from self._close()

    def _new_chunk(self, start: int) -> None:
        self._start = start
        self._end = start
        self._first_line = self.lines + 1
        self._first_record = self.records
        self._parts: list[bytes] = []
        self._digest = xxhash.xxh3_128()

    def _feed(self, block: bytes, *, virtual: bool = False) -> Iterator[Chunk]:
        """`virtual`: the block is a line end that the file lacks; it ends the line but is no byte of the file."""
        base = self._at
        cut = block.rfind(b"\n") + 1
        self._at += 0 if virtual else len(block)
        if not cut:
            self._grow(block)
            return
        if b"\r" in block:
            self.carriage_returns += block.count(b"\r\n") + (block[:1] == b"\n" and self._head[-1:] == b"\r")
        limit = self.limits.line_bytes
        first_bytes = base - self._line_start + block.find(b"\n")
        lines = block[: cut - 1].split(b"\n") if first_bytes > limit or len(block) > limit else []
        if lines and (first_bytes > limit or max(map(len, lines)) > limit):
            yield from self._slowly(lines, base, virtual=virtual)
        else:
            whole = block[:cut]
            self._take(b"" if virtual else whole, *_count(whole))
            self._end = base + cut - virtual
        self._line_start = base + cut - virtual
        self._line_blank, self._head = True, b""
        full = self.records - self._first_record >= self.limits.chunk_records
        if full or self._end - self._start >= self.limits.chunk_bytes:
            yield from self._close()
        if cut < len(block):
            self._grow(block[cut:])

    def _grow(self, piece: bytes) -> None:
        """More of a line whose end is not in sight."""
        self._line_blank = self._line_blank and piece.isspace()
        room = self.limits.line_bytes + 1 - len(self._head)
        self._head += piece[:room] if room > 0 else b""

    def _take(self, whole: bytes, lines: int, blank: int) -> None:
        """Adds complete lines, `whole` with their ends, to the open chunk; the first continues the unfinished one."""
        if self._head:
            if not self._head.isspace() and (not whole or whole[: whole.index(b"\n") + 1].isspace()):
                blank -= 1  # only the rest of it is
            self._digest.update(self._head)
            if self.keep:
                self._parts.append(self._head)
            self._head = b""
        self._digest.update(whole)
        if self.keep:
            self._parts.append(whole)
        self.lines += lines
        self.records += lines - blank

    def _slowly(self, lines: list[bytes], base: int, *, virtual: bool) -> Iterator[Chunk]:
        """The same for a block in which a line is over the limit: that line becomes a chunk of its own, cut."""
        start = self._line_start
        at = base
        for line in lines:
            end = at + len(line) + (0 if virtual else 1)
            size = at + len(line) - start
            if size <= self.limits.line_bytes:
                self._take(line if virtual else line + b"\n", 1, not line or line.isspace())
                self._end = end
            else:
                yield from self._close()
                yield from self._oversized(start, end, size, (self._head + line)[: self.limits.cut_bytes])
            start = at = end
            self._line_blank, self._head = True, b""

    def _oversized(self, start: int, end: int, size: int, head: bytes) -> Iterator[Chunk]:
        self.lines += 1
        blank = not head.strip() and self._line_blank
        self.records += not blank
        if not blank:
            note = too_long(size, self.limits.line_bytes, head)
            yield Chunk(
                self.path, self._index, "jsonl", start, end, self.lines, self.records - 1, 1, head, None, ((0, note),)
            )  # fmt: skip
            self._index += 1
        self._new_chunk(end)

    def _close(self) -> Iterator[Chunk]:
        if self.records > self._first_record:
            yield Chunk(
                self.path,
                self._index,
                "jsonl",
                self._start,
                self._end,
                self._first_line,
                self._first_record,
                self.records - self._first_record,
                b"".join(self._parts) if self.keep else None,
                digest="" if self.keep else self._digest.hexdigest(),
            )
            self._index += 1
        self._new_chunk(self._end)


def _count(text: bytes) -> tuple[int, int]:
    """Lines and blank lines of a text that ends in a line end."""
    if text.count(b"\n", 0, _SAMPLE_BYTES) > _SAMPLE_BYTES // _LONG_LINE_BYTES:
        lines = text.split(b"\n")
        return len(lines) - 1, sum(map(bytes.isspace, lines)) + lines.count(b"") - 1
    count = blank = start = 0
    find = text.find
    while (end := find(b"\n", start)) >= 0:  # twice as fast as splitting when lines are long
        count += 1
        if text[start] <= 32 and text[start : end + 1].isspace():
            blank += 1
        start = end + 1
    return count, blank


def too_long(size: int, limit: int, head: bytes) -> Note:
    """The note on a record over the limit; padding by a file system after a power loss gets its own name."""
    if not head.strip(b"\0"):
        return Note("bytes.nul-padding", "", f"{size:,} NUL bytes where a record should be")
    return Note(
        "bytes.line-too-long",
        "",
        f"{size:,} bytes; a record may have {limit:,}",
        shown(head[:200].decode("utf-8", "replace")),
    )


def line_records(data: bytes, chunk: Chunk) -> Iterator[Record]:
    """The records of a chunk of lines, each cut out when its turn comes: a line is read while it is in the CPU's cache.

    `data` may lack the last line end.
    """
    make = tuple.__new__  # a third of what Record(...) costs
    find = data.find
    line = chunk.first_line
    number = chunk.first_record
    shift = chunk.start
    size = len(data)
    start = 0
    while start < size:
        end = find(b"\n", start)
        if end < 0:
            end = size
        text = data[start:end]
        if text and (text[0] > 32 or not text.isspace()):
            if text[-1] == 13:
                text = text[:-1]
            yield make(Record, (text, line, number, start + shift, ()))
            number += 1
        line += 1
        start = end + 1
