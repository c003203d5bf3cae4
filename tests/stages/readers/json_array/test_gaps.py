"""What stands between the bracketed values of an array is read once, whatever it holds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.findings import Note
from stages.readers.json_array.gaps import closed_early, read_gap, told_by_next


def values(gap: bytes, due: int = 1, *, whole: bool = True) -> tuple[list[bytes], list[int], int]:
    """The values of a gap, which of them have a wrong comma, and where the taken part ends."""
    spans: list[int] = []
    marks: list[tuple[int, Note]] = []
    found = read_gap(gap, 0, spans, marks, due, whole=whole)
    ends = zip(spans[::2], spans[1::2], strict=True)
    return [gap[start:end] for start, end in ends], [number for number, _ in marks], found.taken


def test_values_without_brackets_are_found() -> None:
    assert values(b', 1, "a, b" , null ,') == ([b"1", b'"a, b"', b"null"], [], 18)


@pytest.mark.parametrize(("gap", "wrong"), [(b" 1,", [0]), (b",, 1,", [0]), (b", 1,, 2,", [1])])
def test_a_comma_that_is_missing_or_doubled_is_marked_at_its_value(gap: bytes, wrong: list[int]) -> None:
    assert values(gap)[1] == wrong


def test_a_value_that_may_go_on_is_left_for_the_next_bytes() -> None:
    """Of an open gap only what a comma ends is taken."""
    assert values(b', 1, "tex', whole=False) == ([b"1"], [], 3)


@given(st.lists(st.sampled_from([b"1", b'"x"', b'"a,b"', b"null", b"-0.5e3"]), max_size=8))
def test_nothing_is_lost_and_nothing_comes_twice(listed: list[bytes]) -> None:
    gap = b"".join(b" , " + value for value in listed) + b","
    assert values(gap)[0] == listed


def test_a_gap_of_escaped_quotes_costs_its_length() -> None:
    """A pattern that goes back over what it took would need minutes here."""
    started = time.perf_counter()
    values(b'\\"' * 200_000)
    assert time.perf_counter() - started < 5


def test_a_quote_that_nothing_closes_is_looked_for_once() -> None:
    """Each later quote was tried to the end again: 20,000 took 6 s, 200,000 ten minutes."""
    gap = b'"a' + b',\\"' * 200_000
    started = time.perf_counter()
    listed, _, taken = values(gap)
    assert time.perf_counter() - started < 5
    assert listed == [b'"a', *[b'\\"'] * 200_000]
    assert taken == len(gap)


@given(st.lists(st.sampled_from([b",", b'"', b"\\", b" ", b"a", b"1"]), max_size=14))
def test_every_byte_of_a_gap_is_in_a_value_or_between_two(pieces: list[bytes]) -> None:
    gap = b"".join(pieces)
    listed, _, _ = values(gap)
    at = 0
    for value in listed:
        start = gap.index(value, at)
        assert not gap[at:start].strip(b" ,")
        assert value == value.strip()
        at = start + len(value)
    assert not gap[at:].strip(b" ,")


@pytest.mark.parametrize(
    ("behind", "early", "told"),
    [(b', "key": 1', True, True), (b', {"a": 1}', False, True), (b", ", False, False), (b', "text"', False, False)],
)
def test_a_key_behind_a_value_shows_that_it_was_closed_too_early(behind: bytes, early: bool, told: bool) -> None:
    window = b"}" + behind
    assert (closed_early(window, 1), told_by_next(window, 1)) == (early, told)
