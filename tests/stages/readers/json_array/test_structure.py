"""Values are found without parsing, exactly where a parser finds them; what no valid JSON holds is pointed at."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.readers.json_array.structure import Structure, WindowIndex

TEXT = st.text(max_size=6) | st.text(alphabet='"\\[]{},:\n', max_size=8)
OBJECTS = st.dictionaries(
    TEXT,
    st.recursive(
        st.none() | st.integers(-9, 9) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)
LISTS = st.lists(OBJECTS, max_size=5)


def structure(window: bytes, closer: bytes = b"]") -> Structure:
    return WindowIndex(window).after(0, closer)


def ends(found: Structure) -> list[int]:
    return [end for _, end in found.values()]


@settings(max_examples=40)
@given(LISTS, st.sampled_from([None, 0, 2]), st.booleans())
def test_every_value_of_an_array_is_found_where_it_stands(
    values: list[object], indent: int | None, ascii_only: bool
) -> None:
    window = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")[1:]
    found = structure(window)
    assert [json.loads(window[start:end]) for start, end in found.values()] == values
    assert (found.open_at, found.broken_at) == (-1, -1)
    assert found.closed_at == len(window) - 1


@settings(max_examples=40)
@given(LISTS.filter(bool), st.data())
def test_a_window_that_ends_anywhere_is_no_damage(values: list[object], data: st.DataObject) -> None:
    """Whole values before the end are found, and the one that it cuts is said to be open."""
    window = json.dumps(values).encode("utf-8", "surrogatepass")[1:-1]
    whole = structure(window)
    end = data.draw(st.integers(0, len(window)))
    found = structure(window[:end])
    assert found.broken_at == -1
    kept = [place for place in ends(whole) if place <= end]
    assert ends(found) == kept
    cut = [start for start, _ in list(whole.values())[len(kept) :] if start < end]
    assert found.open_at == (cut[0] if cut else -1)


@pytest.mark.parametrize(
    ("window", "broken_at"),
    [
        (b'{"a": "x}, {"b": "y"}', 12),  # a quote that ends a text stands behind what cannot end one
        (b'{"a": {"b"}]', 11),
        (b'{"a": {1] }', 8),
        (b'{"a" {"b": 1}}', 5),
        (b'{"a": 1}}', 8),
        (b'{"a"x: 1}', 3),
    ],
)
def test_the_first_byte_that_cannot_stand_there_is_named(window: bytes, broken_at: int) -> None:
    found = structure(window)
    assert found.broken_at == broken_at
    assert all(end <= broken_at for end in ends(found))


def test_values_that_stand_free_have_no_closer() -> None:
    found = structure(b'{"a": 1}\n{"b": [2]}\n', closer=b"")
    assert (list(found.values()), found.broken_at) == ([(0, 8), (9, 19)], -1)
    assert structure(b'{"a": 1}]', closer=b"").broken_at == 8


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100, 101])
def test_a_run_of_backslashes_of_any_length_is_counted(count: int) -> None:
    """An odd one takes the quote behind it into the text."""
    window = b'{"a": "' + b"\\" * count + b'"}'
    assert ends(structure(window)) == ([] if count % 2 else [len(window)])


@pytest.mark.parametrize(
    ("window", "found"),
    [
        (b'{"a": 1}, {"b"', (8, False)),
        (b'{"a": [1', (-1, False)),  # more bytes would tell
        (b'{"a": 1]', (-1, True)),
        (b'{"a": {"b": "}"}} x', (17, False)),
    ],
)
def test_the_end_of_one_value_is_found_or_it_is_broken(window: bytes, found: tuple[int, bool]) -> None:
    assert WindowIndex(window).end_of(0) == found


def test_quotes_and_brackets_behind_a_place_are_counted() -> None:
    assert WindowIndex(b'{"a": [1]}').marks_after(0) == 6
    assert WindowIndex(b'{"a": [1]}').marks_after(4) == 3
