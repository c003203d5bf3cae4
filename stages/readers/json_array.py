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

from .chunk_builders import SpanChunks
from .json_structure import SMALL_WINDOW, RecordStarts, is_whole, structure
from .jsonl import too_long

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|,|[^\s,"]+|"')

# what follows a value, as far as it tells: the group is ":" when the value was closed too early, inside an object
_NEXT = re.compile(rb'\s*(?:[^,\s]|,\s*(?:[^"\s]|"(?:[^"\\]|\\.)*"\s*(\S)))')
_WHITE = b" \t\r\n"
_SEPARATOR = Note("json.separator", "", "the comma between this value and the one before is missing or doubled")
_AFTER = Note("json.after-array", "", "the array ended before this")


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
        self._window = b""
        self._at = start  # offset of the window in the file
        self._line = 1
        self._ended = False  # the source has no more
        self._due = False  # a comma must stand before the next value
        self._step = 1 << 30  # how much of the window is looked at
        self._starts = RecordStarts()

    @property
    def records(self) -> int:
        """Values handed on so far."""
        return self.chunks.records

    def scan(self, blocks: Iterable[bytes]) -> Iterator[Chunk]:
        """The chunks, in order."""
        self._source = iter(blocks)
        self._more()
        if not self._free:
            lead = len(self._window) - len(self._window.lstrip(_WHITE))
            self._skip(lead + 1)
        done = False
        while not done:
            done = yield from self._turn()
        yield from self.chunks.close()

    # --- the window ---------------------------------------------------------------------------------------------------

    def _more(self) -> bool:
        """Doubles the window (so that a long value is looked at a bounded number of times); False at the end."""
        parts = [self._window]
        wanted = max(self.limits.block_bytes, len(self._window))
        while wanted > 0 and not self._ended:
            block = next(self._source, b"")
            self._ended = not block
            parts.append(block)
            wanted -= len(block)
        self._window = b"".join(parts)
        return len(parts) > 1 and bool(parts[1])

    def _skip(self, size: int) -> None:
        self._line += self._window.count(b"\n", 0, size)
        self._at += size
        self._window = self._window[size:]

    def _hand_on(self, size: int, spans: list[int], marks: list[tuple[int, Note]]) -> Iterator[Chunk]:
        piece = self._window[:size]
        # a value that has to wait for more bytes leaves its mark behind; it gets it again when its turn comes
        marks = [mark for mark in marks if mark[0] < len(spans) // 2]
        yield from self.chunks.add(piece, self._at, self._line, spans, marks)
        self._due = self._due or bool(spans)
        self._skip(size)

    # --- one look at it -----------------------------------------------------------------------------------------------

    def _turn(self) -> Generator[Chunk, None, bool]:
        """Looks at the window once; True (as the generator's value) when the file is through."""
        view = self._window[: self._step]
        last = self._ended and len(view) == len(self._window)
        found = structure(view, closer=self._closer)
        pairs = [*zip(found.starts.tolist(), found.ends.tolist(), strict=True)]
        pending, early = self._trailing(view, pairs, last=last or found.closed_at >= 0)
        spans: list[int] = []
        marks: list[tuple[int, Note]] = []
        seen = 0
        for which, (start, end) in enumerate(pairs):
            gap = view[seen:start]
            if gap.strip(_WHITE) != (b"" if self._free or not (self._due or spans) else b","):
                if which and b":" in gap and _closed_early(view, seen):
                    early = True
                    pairs[which:] = []
                    break
                _, commas, due = self._between(gap, seen, spans, marks, whole=True)
                if commas != due:
                    marks.append((len(spans) // 2, _SEPARATOR))
            spans += (start, end)
            seen = end
        if early:
            del spans[-2:]
            seen = spans[-1] if spans else 0
            found = found._replace(broken_at=pairs[-1][0], closed_at=-1, open_at=-1)
        elif pending >= 0:
            found = found._replace(closed_at=-1, broken_at=-1, open_at=pending)
        for start in spans[: 2 * 8 : 2]:
            self._starts.learn(view, start, first=not self._due)
        stop = found.closed_at if found.closed_at >= 0 else found.broken_at
        if found.closed_at < 0 and found.broken_at < 0:
            rest = view[seen : found.open_at if found.open_at >= 0 else None]
            if last and found.open_at < 0:
                stop = len(view)
            else:
                seen, _, _ = self._between(rest, seen, spans, marks, whole=False)
        if found.closed_at >= 0 or (last and stop == len(view)):
            _, commas, _ = self._between(view[seen:stop], seen, spans, marks, whole=True)
            if commas and found.closed_at >= 0:
                self.notes.append(_SEPARATOR._replace(message="a comma stands before the end of the array"))
            yield from self._hand_on(stop, spans, marks)
            return (yield from self._finish(closed=found.closed_at >= 0))
        progress = bool(spans)
        yield from self._hand_on(seen, spans, marks)
        if found.broken_at >= 0:
            return (yield from self._resync())
        self._step *= 2
        if not progress and len(view) == len(self._window):
            if last or len(self._window) > self.limits.line_bytes:
                return (yield from self._resync())
            self._more()
        elif len(view) >= len(self._window) + seen:
            self._more()
        return False

    def _finish(self, *, closed: bool) -> Generator[Chunk, None, bool]:
        """Behind the last value: nothing but white space may follow."""
        if not closed:
            if not self._free:
                self.notes.append(Note("json.unclosed-array", "", "the file ends without the closing ] of the array"))
            return True
        yield from self._hand_on(1, [], [])
        while not self._window.strip(_WHITE):
            yield from self._hand_on(len(self._window), [], [])
            if not self._more():
                return True
        return (yield from self._resync(_AFTER))

    def _between(
        self, gap: bytes, base: int, spans: list[int], marks: list[tuple[int, Note]], *, whole: bool
    ) -> tuple[int, int, int]:
        """Values without brackets (numbers, texts, null, junk) in the gap between two bracketed ones.

        They are appended to `spans` at `base` + their place. whole: the gap is known to its end; otherwise only what a
        comma ends is taken. Returns where the taken part ends, the commas behind it, and how many (0, 1) belong there.
        """
        if self._free:
            body = gap.strip(_WHITE)
            if body and whole:
                lead = len(gap) - len(gap.lstrip(_WHITE))
                spans += (base + lead, base + lead + len(body))
            return (base + len(gap) if whole else base), 0, 0
        due = int(self._due or bool(spans))
        commas = 0
        first = last = -1
        taken = 0
        for token in _TOKEN.finditer(gap):
            if token.group() == b",":
                if first >= 0:
                    spans += (base + first, base + last)
                    taken, due, commas, first = last, 1, 0, -1
                commas += 1
                continue
            if first < 0:
                first = token.start()
                if commas != due:
                    marks.append((len(spans) // 2, _SEPARATOR))
            last = token.end()
        if first >= 0 and whole:
            spans += (base + first, base + last)
            taken, due, commas = last, 1, 0
        return base + taken, commas, due

    def _trailing(self, view: bytes, pairs: list[tuple[int, int]], *, last: bool) -> tuple[int, bool]:
        """Looks behind the last value: (its start when more bytes must come first, or -1; whether it ended too early).

        A value that must wait is taken off `pairs`.
        """
        if not pairs:
            return -1, False
        start, end = pairs[-1]
        if _closed_early(view, end):
            return -1, True
        if not last and _NEXT.match(view, end) is None:
            pairs.pop()
            return start, False
        return -1, False

    # --- after something broken ---------------------------------------------------------------------------------------

    def _resync(self, note: Note | None = None) -> Generator[Chunk, None, bool]:
        """The window starts at something broken: gives it out as rejected records and moves to the next good place."""
        lead = len(self._window) - len(self._window.lstrip(_WHITE + b","))
        yield from self._hand_on(lead, [], [])
        self._starts.learn(self._window, 0, first=not self._due)
        pattern = self._starts.pattern()
        search = 1
        long_from = -1
        long_line = 0
        head = b""
        while True:
            good, search = self._next_good(pattern, search)
            if good >= 0:
                break
            if self._ended:
                good = len(self._window)
                break
            if len(self._window) > self.limits.line_bytes and search > 1:
                if long_from < 0:
                    long_from, long_line, head = self._at, self._line, self._window[: self.limits.cut_bytes]
                    yield from self.chunks.close()
                keep_from = max(1, min(search, len(self._window)) - 1024)
                self._skip(keep_from)
                search = max(1, search - keep_from)
            self._more()
        self._step = SMALL_WINDOW
        if long_from >= 0:
            end = self._at + good
            yield from self.chunks.oversized(
                long_from, end, long_line, head, too_long(end - long_from, self.limits.line_bytes, head)
            )
            self._skip(good)
        else:
            yield from self._give_broken(good, note)
        self._due = False  # the comma, if any, went with the broken record
        return self._ended and not self._window

    def _next_good(self, pattern: re.Pattern[bytes], search: int) -> tuple[int, int]:
        """(place of the next record that is whole, or -1; where to go on searching once there are more bytes)."""
        window = self._window
        while (found := pattern.search(window, search)) is not None:
            place = found.start()
            verdict = is_whole(window, place, self._closer, ended=self._ended, longest=self.limits.line_bytes)
            if verdict is None:
                return -1, place
            if verdict:
                return place, place
            search = place + 1
        return -1, max(search, len(window) - 1024)  # a start may lie across the window's end

    def _give_broken(self, good: int, note: Note | None) -> Iterator[Chunk]:
        """Everything before `good`, as one record or, where a record boundary is plain to see, as several."""
        region = self._window[:good]
        spans: list[int] = []
        start = 0
        for joint in () if self._free else self._starts.joints(region):
            spans += (start, joint.start())
            start = joint.end()
        end = len(region.rstrip(_WHITE + b","))
        if end > start:
            spans += (start, end)
        marks = [(which, note) for which in range(len(spans) // 2)] if note else []
        yield from self._hand_on(good, spans, marks)


def _closed_early(view: bytes, end: int) -> bool:
    """Whether `, "key":` follows the value that ends there: then a bracket inside it is one too many."""
    found = _NEXT.match(view, end)
    return found is not None and found.group(1) == b":"
