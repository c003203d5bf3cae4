"""Where the values of a JSON array start and end, found without parsing: numpy over a window of bytes.

    bytes    [ { " a " : " } " } , { ...        quotes that are not escaped say what is text (odd count before = text);
    text         # # #   # # #                  of the brackets outside text, running depth 1 -> 0 ends a value
    depth      1               0   1

700 to 1,300 MB/s. On the way three things are checked that hold in all valid JSON and break within a few bytes when a
quote or bracket is missing, so that one broken record does not swallow the rest: what stands beside a quote, which
bracket closes which, and that a bracket inside an object stands behind a colon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SMALL_WINDOW = 1 << 16  # after a broken record: the next one may be near
_FIRST_KEY = re.compile(rb'\{\s*("(?:[^"\\]|\\.){0,200}")\s*:')
_MOST_KEYS = 16
_WHITE = b" \t\r\n"
_LEVELS_CHECKED = 6  # a missing bracket shifts every bracket outside it, so the outer levels show it


def _table(allowed: bytes) -> NDArray[np.bool_]:
    table = np.zeros(256, dtype=np.bool_)
    table[list(allowed)] = True
    return table


_BEFORE_QUOTE = _table(_WHITE + b"[{,:")
_AFTER_QUOTE = _table(_WHITE + b"]},:")
_IS_WHITE = _table(_WHITE)
_IS_BACKSLASH = _table(b"\\")


class Structure(NamedTuple):
    """Of one window that starts between two values.

    starts, ends: int64 offsets of complete bracketed values (end exclusive). open_at: where a value starts that the
    window does not end, or -1. closed_at: offset of the bracket that closes the array itself, or -1. broken_at: the
    first byte that cannot stand there in valid JSON, or -1; nothing is reported past it.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    open_at: int
    closed_at: int
    broken_at: int


def structure(window: bytes, *, closer: bytes = b"]") -> Structure:
    """`closer`: the bracket that ends the enclosing array; b"" when the values stand free."""
    data = np.frombuffer(window, dtype=np.uint8)
    quotes = _unescaped(data, np.flatnonzero(data == 34))
    folded = data | 0x20  # "[" and "{", "]" and "}" differ in this bit alone
    brackets = np.flatnonzero((folded == 0x7B) | (folded == 0x7D))
    brackets = brackets[np.searchsorted(quotes, brackets) & 1 == 0]
    kinds = data[brackets]
    opens = (kinds | 0x20) == 0x7B
    depth = np.cumsum(np.where(opens, 1, -1))
    broken = _bad_quote(data, quotes)
    below = np.flatnonzero(depth < 0)
    closed_at = -1
    if below.size:
        first = int(below[0])
        at = int(brackets[first])
        if closer and kinds[first] == closer[0]:
            closed_at = at
        else:
            broken = _first(broken, at)
        brackets, kinds, opens, depth = brackets[:first], kinds[:first], opens[:first], depth[:first]
    broken = _first(broken, _bad_bracket(data, brackets, kinds, opens, depth))
    starts = brackets[opens & (depth == 1)]
    ends = brackets[~opens & (depth == 0)] + 1
    if broken >= 0:
        starts, ends = starts[starts < broken], ends[ends <= broken]
        closed_at = closed_at if closed_at < broken else -1
    open_at = int(starts[-1]) if starts.size > ends.size else -1
    return Structure(starts[: ends.size], ends, open_at, closed_at, broken)


def _first(one: int, other: int) -> int:
    return other if one < 0 else one if other < 0 else min(one, other)


def _unescaped(data: NDArray[np.uint8], quotes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The quotes with an even number of backslashes before them."""
    behind = quotes - 1
    if quotes.size and quotes[0] == 0:
        behind[0] = 0  # the byte is a quote, so no backslash
    suspects = np.flatnonzero(data[behind] == 92)
    if not suspects.size:
        return quotes
    behind = behind[suspects]
    lengths = behind - _last_unlike(data, behind, _IS_BACKSLASH)
    keep = np.ones(quotes.size, dtype=np.bool_)
    keep[suspects[lengths & 1 == 1]] = False
    return quotes[keep]


def _last_unlike(data: NDArray[np.uint8], places: NDArray[np.int64], kind: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each place the nearest one at or before it whose byte is not of `kind`; -1 when there is none."""
    at = places.copy()
    running = np.flatnonzero(kind[data[at]])
    for _ in range(32):  # runs are short but for hostile input: one step to the left a turn, for those still inside one
        if not running.size:
            return at
        at[running] -= 1
        running = running[(at[running] >= 0) & kind[data[np.maximum(at[running], 0)]]]
    if running.size:
        others = np.flatnonzero(~kind[data])
        found = np.searchsorted(others, at[running]) - 1
        at[running] = np.where(found >= 0, others[np.maximum(found, 0)] if others.size else -1, -1)
    return at


def _bad_quote(data: NDArray[np.uint8], quotes: NDArray[np.int64]) -> int:
    """First quote with a wrong neighbour: text must start behind [ { , : and end before ] } , : (or white space)."""
    opening, closing = quotes[0::2], quotes[1::2]
    if opening.size and opening[0] == 0:
        opening = opening[1:]
    if closing.size and closing[-1] == data.size - 1:
        closing = closing[:-1]
    wrong_open = opening[~_BEFORE_QUOTE[data[opening - 1]]]
    wrong_close = closing[~_AFTER_QUOTE[data[closing + 1]]]
    return _first(int(wrong_open[0]) if wrong_open.size else -1, int(wrong_close[0]) if wrong_close.size else -1)


def _bad_bracket(
    data: NDArray[np.uint8],
    brackets: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    opens: NDArray[np.bool_],
    depth: NDArray[np.int64],
) -> int:
    """First bracket that closes one of another kind, or opens inside an object without a colon before it."""
    level = depth + ~opens  # of the value that the bracket starts or ends
    found = -1
    outer: NDArray[np.int64] | None = None
    for number in range(1, _LEVELS_CHECKED + 1):
        here = np.flatnonzero(level == number)
        if not here.size:
            break
        openers, closers = here[0::2], here[1::2]  # they alternate, by the way depth is counted
        wrong = closers[kinds[closers] - kinds[openers[: closers.size]] != 2]
        if wrong.size:
            found = _first(found, int(brackets[wrong[0]]))
        if outer is not None:
            parents = kinds[outer[np.searchsorted(outer, openers) - 1]]
            in_object = brackets[openers[parents == 0x7B]]
            found = _first(found, _without_colon(data, in_object))
        outer = openers
    return found


def _without_colon(data: NDArray[np.uint8], places: NDArray[np.int64]) -> int:
    """First of `places` whose nearest byte to the left, past white space, is no colon."""
    if not places.size:
        return -1
    before = _last_unlike(data, places - 1, _IS_WHITE)
    wrong = places[(before < 0) | (data[np.maximum(before, 0)] != 0x3A)]
    return int(wrong[0]) if wrong.size else -1


def is_whole(window: bytes, place: int, closer: bytes, *, ended: bool, longest: int) -> bool | None:
    """Whether a whole value starts at `place`, with what may follow a value behind it; None: more bytes would tell.

    Args:
        window: Bytes of the file.
        place: Offset in the window where a value seems to start.
        closer: The bracket that ends the enclosing array; b"" when the values stand free.
        ended: Whether the file ends with the window.
        longest: Bytes that a value may have.
    """
    size = SMALL_WINDOW
    while True:
        view = window[place : place + size]
        found = structure(view, closer=closer)
        if found.ends.size and found.starts[0] == 0:
            end = place + int(found.ends[0])
            rest = window[end : end + 4096].lstrip(_WHITE)
            if rest or ended:
                return rest[:1] in ((b",", closer) if closer else (b"", b"{"))
            return None
        if found.broken_at >= 0 or found.closed_at >= 0:
            return False
        if len(view) < size:
            return False if ended or len(view) > longest else None
        size *= 8


class RecordStarts:
    """How the records of a file start, learned on the way: their first keys, and the white space before them."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._indents: set[bytes | None] = set()  # None: not first on its line

    def learn(self, view: bytes, start: int, *, first: bool) -> None:
        """Remembers the record at `start`. first: the file's very first one may share its line with the bracket."""
        key = _FIRST_KEY.match(view, start)
        if key and len(self._keys) < _MOST_KEYS:
            self._keys.add(key.group(1))
        line_start = view.rfind(b"\n", 0, start) + 1
        before = view[line_start:start]
        if line_start and not before.strip(_WHITE):
            self._indents.add(before)
        elif not first or before.strip(_WHITE):
            self._indents.add(None)

    def pattern(self) -> re.Pattern[bytes]:
        """Where a record seems to start."""
        keys = self._alternatives() or rb'"[^"\\\n]{1,80}"'
        indent = next(iter(self._indents)) if len(self._indents) == 1 else None
        before = b"" if indent is None else rb"(?<=\n" + re.escape(indent) + b")"
        return re.compile(before + rb"\{\s*(?:" + keys + rb")\s*:")

    def joints(self, region: bytes) -> Iterator[re.Match[bytes]]:
        """The commas in a broken region that stand between two records, as far as it is plain to see."""
        keys = self._alternatives()
        return re.finditer(rb"(?<=\})\s*,\s*(?=\{\s*(?:" + keys + rb")\s*:)", region) if keys else iter(())

    def _alternatives(self) -> bytes:
        return b"|".join(re.escape(key) for key in sorted(self._keys))
