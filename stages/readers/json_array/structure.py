"""Where the values of a JSON array start and end, found without parsing: numpy over a window of bytes.

    bytes    [ { " a " : " } " } , { ...        quotes that are not escaped say what is text (odd count before = text);
    text         # # #   # # #                  of the brackets outside text, running depth 1 -> 0 ends a value
    depth      1               0   1

700 to 1,300 MB/s. On the way three things are checked that hold in all valid JSON and break within a few bytes when a
quote or bracket is missing, so that one broken record does not swallow the rest: what stands beside a quote, which
bracket closes which, and that a bracket inside an object stands behind a colon.

A window is looked at once, whatever is asked of it afterwards: brackets are sorted by their level, and by their place
within it, so that the end of a value, or the first thing wrong behind a place, is one binary search away. A place that
is taken for text from one start and not from another asks the other of two sides: a quote more or less turns text into
what is none, and there is no third way to read the window.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_WHITE = b" \t\r\n"
_LEVELS_CHECKED = 6  # a missing bracket shifts every bracket outside it, so the outer levels show it
_PIECE = 32  # values handed out at first; each time twice as many


def _table(allowed: bytes) -> NDArray[np.bool_]:
    table = np.zeros(256, dtype=np.bool_)
    table[list(allowed)] = True
    return table


_BEFORE_QUOTE = _table(_WHITE + b"[{,:")
_AFTER_QUOTE = _table(_WHITE + b"]},:")
_IS_WHITE = _table(_WHITE)
_IS_BACKSLASH = _table(b"\\")


class Structure(NamedTuple):
    """Of a window from a place between two values on.

    open_at: where a value starts that the window does not end, or -1. closed_at: offset of the bracket that closes the
    array itself, or -1. broken_at: the first byte that cannot stand there in valid JSON, or -1; nothing is reported
    past it. places: the brackets of the complete values, opening and closing ones by turns, as `values` takes them.
    """

    open_at: int
    closed_at: int
    broken_at: int
    places: NDArray[np.int64]

    def values(self) -> Iterator[tuple[int, int]]:
        """Start and end (exclusive) of each complete value, in order; those that are not taken cost nothing."""
        at, size = 0, 2 * _PIECE
        while at < self.places.size:
            flat = iter(self.places[at : at + size].tolist())
            for start in flat:
                yield start, next(flat) + 1
            at, size = at + size, size * 2


class WindowIndex:
    """The structure of one window, asked from any place in it."""

    def __init__(self, window: bytes) -> None:
        self._data = np.frombuffer(window, dtype=np.uint8)
        self._quotes = _unescaped(self._data, np.flatnonzero(self._data == 34)).astype(np.int32)
        folded = self._data | 0x20  # "[" and "{", "]" and "}" differ in this bit alone
        found = (folded == 0x7B) | (folded == 0x7D)
        del folded
        self._brackets = np.flatnonzero(found).astype(np.int32)
        self._quote_places = self._quotes.data  # bisect takes integers from it, and numpy would make a copy
        self._sides: list[_Side | None] = [None, None]

    def after(self, place: int, closer: bytes) -> Structure:
        """What stands from `place` on, which is between two values. closer: the bracket that ends the enclosing array;
        b"" when the values stand free."""
        side = self._side(place)
        depth = side.depth_before(place)
        below = side.next_at(depth, place)
        broken = side.next_bad(place, depth)
        closed_at = -1
        if below >= 0:
            if closer and self._data[below] == closer[0]:
                # what it closes may stand before `place`, in something broken, and be of another kind
                if broken < 0 or below <= broken:
                    closed_at, broken = below, -1
            else:
                broken = below if broken < 0 else min(broken, below)
        stop = closed_at if closed_at >= 0 else broken
        places = side.level(depth + 1, place, self._data.size if stop < 0 else stop)
        open_at = -1
        if places.size % 2:
            open_at, places = int(places[-1]), places[:-1]
        return Structure(open_at, closed_at, broken, places)

    def end_of(self, place: int) -> tuple[int, bool]:
        """Of the value whose bracket opens at `place`: its end (exclusive), -1 when the window does not hold it; and
        whether something in it is broken."""
        side = self._side(place)
        depth = side.depth_before(place)
        end = side.next_at(depth + 1, place + 1)
        bad = side.next_bad(place, depth)
        if bad >= 0 and (end < 0 or bad <= end):
            return -1, True
        return (end + 1 if end >= 0 else -1), False

    def marks_after(self, place: int) -> int:
        """How many quotes and brackets stand behind a place."""
        found = self._quotes.size - bisect_left(self._quote_places, place)
        return found + self._brackets.size - int(np.searchsorted(self._brackets, np.int32(place)))

    def _side(self, place: int) -> _Side:
        odd = bisect_left(self._quote_places, place) & 1
        side = self._sides[odd]
        if side is None:
            side = self._sides[odd] = _Side(self._data, self._quotes, self._brackets, odd)
        return side


class _Side:
    """The window as it reads when the bytes behind an even (or odd) number of quotes are no text."""

    def __init__(
        self, data: NDArray[np.uint8], quotes: NDArray[np.int32], brackets: NDArray[np.int32], odd: int
    ) -> None:
        self._stride = data.size + 1
        places = brackets[(np.searchsorted(quotes, brackets) & 1) == odd]
        kinds = data[places]
        opens = (kinds | 0x20) == 0x7B
        depth = np.cumsum(np.where(opens, np.int8(1), np.int8(-1)), dtype=np.int32)
        level = depth + ~opens  # of the value that the bracket starts or ends
        self._lowest = int(level.min()) if level.size else 0
        small = level - self._lowest
        # numpy sorts 16 bits by counting
        order = np.argsort(small.astype(np.uint16) if level.size < 1 << 16 else small, kind="stable")
        del small
        self._keys = (level[order].astype(np.int64) - self._lowest) * self._stride + places[order]
        bad = _wrong_quotes(data, quotes, odd)
        self._bad_opens = self._without_colon(data, places[opens], level[opens]).data
        kinds = kinds[order]
        same = level[order][1:] == level[order][:-1]
        del order, level, opens
        wrong = np.flatnonzero(same & ((kinds[:-1] | 0x20) == 0x7B) & (kinds[1:] - kinds[:-1] != 2)) + 1
        if wrong.size:
            bad = np.sort(np.concatenate([bad, self._keys[wrong] % self._stride]))
        self._bad = bad.data
        self._places, self._depth, self._sorted = places.data, depth.data, self._keys.data

    def _without_colon(
        self, data: NDArray[np.uint8], places: NDArray[np.int32], level: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        """Keys of the brackets that open inside an object with no colon before them, past white space."""
        suspects = data[np.maximum(places - 1, 0)] != 0x3A
        places, level = places[suspects], level[suspects]
        parents = self._keys.searchsorted((level.astype(np.int64) - 1 - self._lowest) * self._stride + places) - 1
        at = self._keys[np.maximum(parents, 0)]
        found = (parents >= 0) & (at // self._stride == level - 1 - self._lowest)
        found &= data[at % self._stride] == 0x7B
        places, level = places[found], level[found]
        before = _last_unlike(data, places.astype(np.int64) - 1, _IS_WHITE)
        wrong = (before < 0) | (data[np.maximum(before, 0)] != 0x3A)
        return np.sort((level[wrong].astype(np.int64) - self._lowest) * self._stride + places[wrong])

    def depth_before(self, place: int) -> int:
        """How deep the window is at a place."""
        index = bisect_left(self._places, place)
        return self._depth[index - 1] if index else 0

    def next_at(self, level: int, place: int) -> int:
        """The first bracket of a level at or behind a place, or -1."""
        base = (level - self._lowest) * self._stride
        index = bisect_left(self._sorted, base + place) if base >= 0 else len(self._sorted)
        if index == len(self._sorted):
            return -1
        found = self._sorted[index] - base
        return found if found < self._stride else -1

    def level(self, level: int, start: int, stop: int) -> NDArray[np.int64]:
        """The brackets of a level in [start, stop)."""
        base = (level - self._lowest) * self._stride
        first = bisect_left(self._sorted, base + start)
        last = bisect_left(self._sorted, base + stop, first)
        found: NDArray[np.int64] = self._keys[first:last] - base
        return found

    def next_bad(self, place: int, depth: int) -> int:
        """The first byte behind `place`, which is `depth` deep, that breaks the rules of JSON; or -1."""
        index = bisect_right(self._bad, place)
        found = self._bad[index] if index < len(self._bad) else -1
        if self._bad_opens:
            for number in range(2, _LEVELS_CHECKED + 1):
                base = (depth + number - self._lowest) * self._stride
                index = bisect_right(self._bad_opens, base + place)
                if index < len(self._bad_opens):
                    at = self._bad_opens[index] - base
                    if at < self._stride and (found < 0 or at < found):
                        found = at
        return found


def _wrong_quotes(data: NDArray[np.uint8], quotes: NDArray[np.int32], odd: int) -> NDArray[np.int64]:
    """Quotes with a wrong neighbour: text must start behind [ { , : and end before ] } , : (or white space)."""
    opening, closing = quotes[odd::2], quotes[1 - odd :: 2]
    if opening.size and opening[0] == 0:
        opening = opening[1:]
    if closing.size and closing[-1] == data.size - 1:
        closing = closing[:-1]
    wrong_open = opening[~_BEFORE_QUOTE[data[opening - 1]]]
    wrong_close = closing[~_AFTER_QUOTE[data[closing + 1]]]
    return np.sort(np.concatenate([wrong_open, wrong_close]).astype(np.int64))


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
