"""The part of a JSON file that is looked at, and what its records have in common at their start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from stages.core.records import Limits

from .gaps import WHITE
from .structure import WindowIndex

_FIRST_KEY = re.compile(rb'\{\s*+("(?:[^"\\]|\\.){0,200}")\s*+:')
_INDENT = 200  # bytes; nobody means more than that by it
_DENSE = 2_000_000  # quotes and brackets in what has to be one record: a list of as many tokens has them


class Window:
    """Bytes of a file, from `place` on; what stands before it was handed on.

    offset: of `place` in the file. line: of `place`, from 1. ended: the source has no more.
    """

    def __init__(self, source: Iterator[bytes], limits: Limits, start: int) -> None:
        self.data = b""
        self.place = 0
        self.offset = start
        self.line = 1
        self.ended = False
        self._source = source
        self._limits = limits
        self._index: WindowIndex | None = None

    @property
    def held(self) -> int:
        """Bytes that are still to be handed on."""
        return len(self.data) - self.place

    def index(self) -> WindowIndex:
        """The structure of the window; made once for the bytes it holds."""
        if self._index is None:
            self._index = WindowIndex(self.data)
        return self._index

    def too_dense(self) -> bool:
        """Whether what is held has more brackets and quotes than any record."""
        return self.held > _DENSE and self.index().marks_after(self.place) > _DENSE

    def more(self) -> bool:
        """Doubles what is held (so that a long value is looked at a bounded number of times), up to a quarter of a
        record's limit at a time; False at the end."""
        parts = [self.data[self.place :]]
        self.data, self._index = b"", None  # given back before the new ones are taken
        wanted = max(self._limits.block_bytes, min(len(parts[0]), self._limits.line_bytes // 4))
        while wanted > 0 and not self.ended:
            block = next(self._source, b"")
            self.ended = not block
            parts.append(block)
            wanted -= len(block)
        self.data = b"".join(parts)
        self.place = 0
        return len(parts) > 1 and bool(parts[1])

    def skip(self, end: int) -> None:
        """Moves the place to `end`."""
        self.line += self.data.count(b"\n", self.place, end)
        self.offset += end - self.place
        self.place = end


class RecordStarts:
    """How records start: their first keys, and the white space before them on their line."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._indents: set[bytes | None] = set()  # None: not first on its line
        self._pattern: re.Pattern[bytes] | None = None
        self._joints: re.Pattern[bytes] | None = None

    def learn(self, data: bytes, place: int, spans: Sequence[int], *, due: bool) -> None:
        """Looks at the first records of a window whose earlier bytes, before `place`, are done with."""
        for start in spans[: 2 * 8 : 2]:
            self.learn_one(data, place, start, due=due)

    def learn_one(self, data: bytes, place: int, start: int, *, due: bool) -> None:
        """Looks at one record. due: it is not the first of the file."""
        key = _FIRST_KEY.match(data, start)
        if key and len(self._keys) < 16 and key.group(1) not in self._keys:
            self._keys.add(key.group(1))
            self._pattern = self._joints = None
        line_start = data.rfind(b"\n", place, start) + 1
        before = data[max(line_start, place) : start]
        indent: bytes | None = None
        if line_start and len(before) <= _INDENT and not before.strip(WHITE):
            indent = before
        elif not (due or before.strip(WHITE)):  # the very first record may share its line with the bracket
            return
        if indent not in self._indents and len(self._indents) < 2:  # with two there is no telling any more
            self._indents.add(indent)
            self._pattern = None

    def pattern(self) -> re.Pattern[bytes]:
        """Finds a place where a record seems to start."""
        if self._pattern is None:
            keys = self._any_key() or rb'"[^"\\\n]{1,80}"'
            indent = next(iter(self._indents)) if len(self._indents) == 1 else None
            before = b"" if indent is None else rb"(?<=\n" + re.escape(indent) + b")"
            self._pattern = re.compile(before + rb"\{\s*+(?:" + keys + rb")\s*+:")
        return self._pattern

    def joints(self) -> re.Pattern[bytes] | None:
        """Finds the comma between two records, where that is plain to see; None when no key is known."""
        if self._joints is None and self._keys:
            self._joints = re.compile(rb"(?<=\})\s*+,\s*+(?=\{\s*+(?:" + self._any_key() + rb")\s*+:)")
        return self._joints

    def _any_key(self) -> bytes:
        return b"|".join(re.escape(key) for key in sorted(self._keys))
