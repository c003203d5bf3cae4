"""A JSON array, or objects spread over several lines, of any size: split into its values in bounded memory.

A window of the file that starts between two values goes through `structure`; what it ends is handed on, the rest waits
for more bytes. Where the bytes stop being JSON, the reader looks for the next place where a record seems to begin, so
that only the broken record is lost:

* it starts with "{" and one of the first keys that earlier records start with;
* when each record so far started on a line of its own with one indentation, so must it;
* it is a whole value by its brackets, and a comma or the end of the array follows.

What lies between becomes one rejected record, or several where `}, {"<first key>":` stands inside. A nested object that
starts with the same key as the records themselves could be taken for a record; then its own remains are rejected.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator

from stages.core.findings import Note
from stages.core.records import Chunk, Limits
from stages.readers.chunk_builders import SpanChunks
from stages.readers.jsonl import too_long

from .gaps import SEPARATOR, WHITE, Gap, closed_early, read_gap, told_by_next
from .window import RecordStarts, Window

_AFTER = Note("json.after-array", "", "the array ended before this")
_LEAD = re.compile(rb"[ \t\r\n,]*+")
_BLANK = re.compile(rb"[ \t\r\n]*+")


class ArrayScanner:
    """Turns blocks of bytes into chunks of values. `notes`: findings about the file. free: no array around the values.

    start: offset of the first block in the file. keep: the chunks carry their bytes.
    """

    def __init__(self, path: str, limits: Limits, *, keep: bool, start: int = 0, free: bool = False) -> None:
        self.limits = limits
        self.notes: list[Note] = []
        self.chunks = SpanChunks(path, "object" if free else "array", limits, keep=keep)
        self._free = free
        self._closer = b"" if free else b"]"
        self._start = start
        self._due = False  # a comma must stand before the next value
        self._starts = RecordStarts()

    @property
    def records(self) -> int:
        """Values handed on so far."""
        return self.chunks.records

    def scan(self, blocks: Iterable[bytes]) -> Iterator[Chunk]:
        """The chunks, in order."""
        self._window = Window(iter(blocks), self.limits, self._start)
        self._window.more()
        if not self._free:
            self._window.skip(self._end(_BLANK) + 1)
        done = False
        while not done:
            done = yield from self._turn()
        yield from self.chunks.close()

    def _end(self, pattern: re.Pattern[bytes]) -> int:
        """Where the bytes of a pattern that stand at the window's place end."""
        found = pattern.match(self._window.data, self._window.place)
        return self._window.place if found is None else found.end()

    def _hand_on(self, end: int, spans: list[int], marks: list[tuple[int, Note]]) -> Iterator[Chunk]:
        """Gives out everything up to `end`. spans: in the window."""
        window = self._window
        place = window.place
        # a value that has to wait for more bytes leaves its mark behind; it gets it again when its turn comes
        marks = [mark for mark in marks if mark[0] < len(spans) // 2]
        inside = [at - place for at in spans] if place else spans
        yield from self.chunks.add(window.data[place:end], window.offset, window.line, inside, marks)
        self._due = self._due or bool(spans)
        window.skip(end)

    # --- one look at it -----------------------------------------------------------------------------------------------

    def _turn(self) -> Generator[Chunk, None, bool]:
        """Looks at the window once; True (as the generator's value) when the file is through."""
        window = self._window
        data = window.data
        found = window.index().after(window.place, self._closer)
        spans: list[int] = []
        marks: list[tuple[int, Note]] = []
        seen = window.place
        broken, closed, waits = found.broken_at, found.closed_at, found.open_at
        final = int(found.places[-1]) + 1 if found.places.size else -1
        for start, end in found.values():
            if self._odd_gap(data, seen, start, spans, marks):  # the value before was closed too early
                broken, closed, waits = spans[-2], -1, -1
                break
            spans += (start, end)
            seen = end
            if end == final and closed_early(data, end):
                broken, closed, waits = start, -1, -1
            elif end == final and not window.ended and closed < 0 and not told_by_next(data, end):
                broken, waits = -1, start
                del spans[-2:]
                seen = spans[-1] if spans else window.place
        if broken >= 0 and spans[-2:-1] == [broken]:
            del spans[-2:]
            seen = spans[-1] if spans else window.place
        self._starts.learn(data, window.place, spans, due=self._due)
        return (yield from self._settle(spans, marks, seen, broken=broken, closed=closed, waits=waits))

    def _settle(
        self, spans: list[int], marks: list[tuple[int, Note]], seen: int, *, broken: int, closed: int, waits: int
    ) -> Generator[Chunk, None, bool]:
        """Hands on what a look at the window found, and sees to what stopped it."""
        window = self._window
        data = window.data
        stop = max(closed, broken)
        if stop < 0:
            if window.ended and waits < 0:
                stop = len(data)
            else:
                rest = data[seen : waits if waits >= 0 else None]
                seen = self._between(rest, seen, spans, marks, whole=False).taken
        if closed >= 0 or (broken < 0 and stop == len(data)):
            gap = self._between(data[seen:stop], seen, spans, marks, whole=True)
            if gap.commas and closed >= 0:
                self.notes.append(SEPARATOR._replace(message="a comma stands before the end of the array"))
            yield from self._hand_on(stop, spans, marks)
            return (yield from self._finish(closed=closed >= 0))
        progress = bool(spans)
        yield from self._hand_on(seen, spans, marks)
        if broken >= 0:
            return (yield from self._resync())
        if not progress and (window.ended or window.held > self.limits.line_bytes or window.too_dense()):
            return (yield from self._resync())
        window.more()
        return False

    def _odd_gap(self, data: bytes, seen: int, start: int, spans: list[int], marks: list[tuple[int, Note]]) -> bool:
        """Reads what stands between two values, unless it is the comma that belongs there. True when it shows that the
        one before was closed too early."""
        gap = data[seen:start]
        if gap.strip(WHITE) == (b"" if self._free or not (self._due or spans) else b","):
            return False
        if spans and spans[-1] == seen and b":" in gap and closed_early(data, seen):
            return True
        read = self._between(gap, seen, spans, marks, whole=True)
        if read.commas != read.due:
            marks.append((len(spans) // 2, SEPARATOR))
        return False

    def _between(self, gap: bytes, base: int, spans: list[int], marks: list[tuple[int, Note]], *, whole: bool) -> Gap:
        """Values without brackets in a gap; between free-standing objects everything is one."""
        if not self._free:
            return read_gap(gap, base, spans, marks, int(self._due or bool(spans)), whole=whole)
        body = gap.strip(WHITE)
        if body and whole:
            lead = len(gap) - len(gap.lstrip(WHITE))
            spans += (base + lead, base + lead + len(body))
        return Gap(base + len(gap) if whole else base, 0, 0)

    def _finish(self, *, closed: bool) -> Generator[Chunk, None, bool]:
        """Behind the last value: nothing but white space may follow."""
        window = self._window
        if not closed:
            if not self._free:
                self.notes.append(Note("json.unclosed-array", "", "the file ends without the closing ] of the array"))
            return True
        yield from self._hand_on(window.place + 1, [], [])
        while self._end(_BLANK) == len(window.data):
            yield from self._hand_on(len(window.data), [], [])
            if not window.more():
                return True
        while self._end(_LEAD) == len(window.data) and window.held <= self.limits.line_bytes and window.more():
            pass
        if window.ended and self._end(_LEAD) == len(window.data):  # commas alone
            commas = window.data[window.place :].strip(WHITE)
            start = window.data.index(b",", window.place)
            yield from self._hand_on(len(window.data), [start, start + len(commas)], [(0, _AFTER)])
            return True
        return (yield from self._resync(_AFTER))

    # --- after something broken ---------------------------------------------------------------------------------------

    def _resync(self, note: Note | None = None) -> Generator[Chunk, None, bool]:
        """The window starts at something broken: gives it out as rejected records and moves to the next good place."""
        window = self._window
        yield from self._hand_on(self._end(_LEAD), [], [])
        self._starts.learn_one(window.data, window.place, window.place, due=self._due)
        search = window.place + 1
        long_from = long_line = -1
        head = b""
        while True:
            good, search = self._next_good(search)
            if good >= 0 or window.ended:
                good = good if good >= 0 else len(window.data)
                break
            if window.held > self.limits.line_bytes and search > window.place + 1:
                if long_from < 0:
                    long_from, long_line = window.offset, window.line
                    head = window.data[window.place : window.place + self.limits.cut_bytes]
                    yield from self.chunks.close()
                window.skip(max(window.place + 1, min(search, len(window.data)) - 1024))
                search = max(window.place + 1, search)
            behind = search - window.place
            window.more()
            search = window.place + behind
        if long_from >= 0:
            end = window.offset + good - window.place
            yield from self.chunks.oversized(
                long_from, end, long_line, head, too_long(end - long_from, self.limits.line_bytes, head)
            )
            window.skip(good)
        else:
            yield from self._give_broken(good, note)
        self._due = False  # the comma, if any, went with the broken record
        return window.ended and not window.held

    def _next_good(self, search: int) -> tuple[int, int]:
        """(place of the next record that is whole, or -1; where to go on searching once there are more bytes)."""
        pattern = self._starts.pattern()
        data = self._window.data
        while (found := pattern.search(data, search)) is not None:
            place = found.start()
            verdict = self._is_whole(place)
            if verdict is None:
                return -1, place
            if verdict:
                return place, place
            search = place + 1
        return -1, max(search, len(data) - 1024)  # a start may lie across the window's end

    def _is_whole(self, place: int) -> bool | None:
        """Whether a whole value starts there, with a comma or the end behind it; None: more bytes would tell."""
        window = self._window
        end, broken = window.index().end_of(place)
        if broken:
            return False
        if end < 0:
            if window.ended or len(window.data) - place > self.limits.line_bytes or window.too_dense():
                return False
            return None
        rest = window.data[end : end + 4096].lstrip(WHITE)
        if rest or window.ended:
            return rest[:1] in ((b"", b"{") if self._free else (b",", b"]"))
        return None

    def _give_broken(self, good: int, note: Note | None) -> Iterator[Chunk]:
        """Everything before `good`, as one record or, where a record boundary is plain to see, as several."""
        data = self._window.data
        start = self._window.place
        region = data[start:good]
        end = start + len(region.rstrip(WHITE + b","))
        spans: list[int] = []
        if not self._free and (joints := self._starts.joints()) is not None:
            for joint in joints.finditer(data, start, good):
                spans += (start, joint.start())
                start = joint.end()
        if end > start:
            spans += (start, end)
        marks = [(which, note) for which in range(len(spans) // 2)] if note else []
        yield from self._hand_on(good, spans, marks)
