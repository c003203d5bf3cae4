"""CSV and TSV, faithful to the text: every cell is a string, and `007`, `NA` or a date stay. A cell with nothing in it
is null, a pair of quotes is the empty text: as PostgreSQL reads them, and as the cells stand in other tools (null is
what LLaMA-Factory makes of an empty cell). RFC 4180: a cell in double quotes may hold delimiters, line ends and doubled
quotes. What the columns of a record hold besides text is read in `cells`, once the map is known.

A row with the wrong number of cells, or with a quote that never closes, is rejected by itself: after the latter,
reading goes on at the next line, so that one stray quote does not swallow the rows behind it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import orjson

from stages.core.display import clean, shown
from stages.core.findings import Note
from stages.core.records import Limits
from stages.parse.diagnose import reason

from .chunk_builders import Line, Row, physical_lines
from .jsonl import too_long

_CELL_LINES = 1 << 18  # of one cell: each is held until its end is found
_QUOTED = re.compile('"[^"]*"')


class CsvReader:
    """Rows of a CSV stream. `notes`: findings about the file; `rows` is empty when the header cannot be used."""

    def __init__(self, limits: Limits, *, delimiter: str = ",") -> None:
        self.limits = limits
        self.notes: list[Note] = []
        self._delimiter = delimiter
        self._in_quotes = False
        self._header: list[str] = []
        self._names: list[bytes] = []

    def rows(self, blocks: Iterable[bytes], start: int) -> Iterator[Row]:
        """The rows below the header. `start`: offset of the first block in the file."""
        lines = _Lines(physical_lines(blocks, start, self.limits, lambda: self._in_quotes))
        while (line := lines.next()) is not None:
            if not line.data.strip():
                continue
            if not self._header:
                if not self._take_header(line, lines):
                    return
                continue
            yield self._row(line, lines)

    def _take_header(self, line: Line, lines: _Lines) -> bool:
        text = line.data.decode("utf-8", "replace")
        if self._delimiter not in (bare := _QUOTED.sub("", text)):
            for other, name in ((";", "semicolons"), ("\t", "tabs")):
                if other in bare:
                    self._delimiter = other
                    self.notes.append(Note("table.delimiter", "", f"cells are separated by {name}"))
                    break
        cells, _, note = self._cells(line, lines)
        if note is not None:
            self.notes.append(note._replace(message=f"header: {note.message}"))
            return False
        names = [name or "" for name in cells]
        doubled = [name for name, count in Counter(names).items() if count > 1]
        if doubled:
            named = ", ".join(f'"{clean(name[:40])}"' for name in doubled[:5])
            self.notes.append(Note("table.duplicate-column", "", f"the header names more than one column {named}"))
            return False
        self._header = names
        return True

    def _row(self, line: Line, lines: _Lines) -> Row:
        cells, last, note = self._cells(line, lines)
        end = last.offset + last.size + 1
        if note is None and len(cells) != len(self._header):
            what = f"{len(cells)} cells where the header has {len(self._header)}"
            note = Note("table.ragged-row", "", what, shown(line.data[:200].decode("utf-8", "replace")))
        if note is not None:
            return Row(lines.between(line, last), line.number, line.offset, end, note)
        return Row(orjson.dumps(dict(zip(self._header, cells, strict=True))), line.number, line.offset, end)

    def _cells(self, line: Line, lines: _Lines) -> tuple[list[str | None], Line, Note | None]:
        """The cells of the row that starts in `line`, the last line it takes, and why it cannot be used.

        After a bad row, the line behind its first one comes next.
        """
        lines.mark()
        first = line
        text, note = self._text(line)
        if note is None and '"' not in text:
            return [cell or None for cell in text.split(self._delimiter)], line, None
        cells: list[str | None] = []
        at = 0
        while note is None:
            if not text.startswith('"', at):
                end = text.find(self._delimiter, at)
                cells.append((text[at:] if end < 0 else text[at:end]) or None)
                if end < 0:
                    return cells, line, None
                at = end + 1
                continue
            self._in_quotes = True
            cell, text, at, line, note = self._quoted(text, at + 1, line, lines)
            self._in_quotes = False
            cells.append(cell)
            if note is None and at == len(text):
                return cells, line, None
            if note is None and not text.startswith(self._delimiter, at):
                note = _unclosed("text stands behind a closing quote", first)
            at += 1
        lines.back_to(first)
        return [], first, note

    def _quoted(self, text: str, at: int, line: Line, lines: _Lines) -> tuple[str, str, int, Line, Note | None]:
        """A quoted cell from behind its opening quote: (cell, text and place behind its closing one, line, note)."""
        opened = line
        parts: list[str] = []
        chars = 0
        while True:
            close = text.find('"', at)
            if close >= 0:
                parts.append(text[at:close])
                if not text.startswith('"', close + 1):
                    return "".join(parts), text, close + 1, line, None
                parts.append('"')
                at = close + 2
                continue
            parts += (text[at:], "\r\n" if line.data.endswith(b"\r") else "\n")
            chars += len(text) - at + 1
            short = line.number - opened.number < _CELL_LINES
            following = lines.next() if short and chars <= self.limits.cell_bytes else None
            if following is None:
                return "", text, at, line, _unclosed("a quote is opened and not closed", opened)
            line = following
            at = 0
            text, note = self._text(line)
            if note is not None:
                return "", text, at, line, note

    def _text(self, line: Line) -> tuple[str, Note | None]:
        if line.size > len(line.data):
            return "", too_long(line.size, self.limits.line_bytes, line.data)
        data = line.data[:-1] if line.data.endswith(b"\r") else line.data
        try:
            return data.decode(), None
        except UnicodeDecodeError:
            return "", reason(data)


def _unclosed(what: str, line: Line) -> Note:
    return Note("table.unclosed-quote", "", what, shown(line.data[:200].decode("utf-8", "replace")))


class _Lines:
    """Lines with a way back: those read since `mark` are kept until the next one."""

    def __init__(self, source: Iterator[Line]) -> None:
        self._source = source
        self._again: list[Line] = []  # to be given out once more, last first
        self._since: list[Line] = []

    def next(self) -> Line | None:
        """The next line, or None."""
        line = self._again.pop() if self._again else next(self._source, None)
        if line is not None:
            self._since.append(line)
        return line

    def mark(self) -> None:
        """Forgets all but the line given out last."""
        del self._since[:-1]

    def back_to(self, line: Line) -> None:
        """Makes the line behind `line` the next one."""
        while self._since and self._since[-1] is not line:
            self._again.append(self._since.pop())

    def between(self, first: Line, last: Line) -> bytes:
        """The raw bytes of the lines from `first` to `last`."""
        kept = [line.data for line in self._since if first.number <= line.number <= last.number]
        return b"\n".join(kept).removesuffix(b"\r")
