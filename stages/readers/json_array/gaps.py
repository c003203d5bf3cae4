"""What stands between the bracketed values of a JSON array: commas, and values without brackets (numbers, texts, null,
junk).

Every pattern here is possessive: it never goes back over bytes it has taken, so that reading a gap costs its length
whatever it holds.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from stages.core.findings import Note

WHITE = b" \t\r\n"
SEPARATOR = Note("json.separator", "", "the comma between this value and the one before is missing or doubled")
_COMMAS = re.compile(rb"[\s,]*+")
_BODY = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)  # of a text, up to its closing quote
_TEXT = rb'"(?:[^"\\]++|\\.)*+"'

# one value, whatever it holds, up to the next comma: words, texts, white space; a text that is not closed takes all the
# rest. Each choice fails at its first byte or not at all: before 3.11.5 Python gives a possessive group wrong ends else
_VALUE = re.compile(rb'(?:[^,"]++|"(?:[^"\\]++|\\.)*+\\?+"?+)*+', re.DOTALL)

# what follows a value, as far as it tells: the group is ":" when the value was closed too early, inside an object
_NEXT = re.compile(rb'\s*+(?:[^,\s]|,\s*+(?:[^"\s]|' + _TEXT + rb"\s*+(\S)))", re.DOTALL)


class Gap(NamedTuple):
    """What a gap came to. taken: where the part that is read ends. commas: behind that part. due: how many (0, 1)
    belong there."""

    taken: int
    commas: int
    due: int


def read_gap(gap: bytes, base: int, spans: list[int], marks: list[tuple[int, Note]], due: int, *, whole: bool) -> Gap:
    """Appends the values in a gap between two bracketed ones to `spans`, at `base` + their place.

    Args:
        gap: The bytes.
        base: Where the gap starts.
        spans: Start and end of each value; appended to.
        marks: (which of the spans, what is wrong with its comma); appended to.
        due: How many commas (0, 1) belong before the first value.
        whole: The gap is known to its end; otherwise only what a comma ends is taken.

    Returns:
        Where the taken part ends, and the commas behind it.
    """
    at = taken = commas = 0
    unclosed = False
    while True:
        end = _end(_COMMAS, gap, at)
        commas += gap.count(b",", at, end)
        if end == len(gap):
            return Gap(base + taken, commas, due)
        first = end
        at, unclosed = _value_end(gap, first, unclosed)
        ended = gap.find(b",", at, _end(_COMMAS, gap, at)) >= 0
        if not whole and (unclosed or not ended):  # it goes on in bytes that are still to come
            if commas != due:
                marks.append((len(spans) // 2, SEPARATOR))
            return Gap(base + taken, commas, due)
        if commas != due:
            marks.append((len(spans) // 2, SEPARATOR))
        spans += (base + first, base + at)
        taken, due, commas = at, 1, 0


def _end(pattern: re.Pattern[bytes], gap: bytes, at: int) -> int:
    found = pattern.match(gap, at)
    return at if found is None else found.end()


def _value_end(gap: bytes, at: int, unclosed: bool) -> tuple[int, bool]:
    """Where the value that starts at `at` ends, and whether it holds a quote that nothing closes.

    unclosed: a quote before `at` is not closed. Those behind it are then all escaped, as it counts them, and none of
    them is closed either.
    """
    opened = at if unclosed else -1
    if not unclosed:
        end = _end(_VALUE, gap, at)
        opened = _open_quote(gap, at) if end == len(gap) else -1
    if opened >= 0:
        end = gap.find(b",", opened)
        end = len(gap) if end < 0 else end
    return at + len(gap[at:end].rstrip()), opened >= 0


def _open_quote(gap: bytes, at: int) -> int:
    """The first quote from `at` that begins a text without an end, -1 without one."""
    while (quote := gap.find(b'"', at)) >= 0:
        end = _end(_BODY, gap, quote + 1)
        if gap[end : end + 1] != b'"':
            return quote
        at = end + 1
    return -1


def closed_early(window: bytes, end: int) -> bool:
    """Whether `, "key":` follows the value that ends there: then a bracket inside it is one too many."""
    found = _NEXT.match(window, end)
    return found is not None and found.group(1) == b":"


def told_by_next(window: bytes, end: int) -> bool:
    """Whether the window holds enough behind the value that ends there to tell that it was not closed too early."""
    return _NEXT.match(window, end) is not None
