"""Values are found without parsing, exactly where a parser finds them; what no valid JSON holds is pointed at."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.readers.json_array.structure import RecordStarts, is_whole, structure

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


@settings(max_examples=40)
@given(LISTS, st.sampled_from([None, 0, 2]), st.booleans())
def test_every_value_of_an_array_is_found_where_it_stands(
    values: list[object], indent: int | None, ascii_only: bool
) -> None:
    window = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")[1:]
    found = structure(window)
    pairs = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    assert [json.loads(window[start:end]) for start, end in pairs] == values
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
    kept = [place for place in whole.ends.tolist() if place <= end]
    assert found.ends.tolist() == kept
    cut = [place for place in whole.starts.tolist()[len(kept) :] if place < end]
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
    assert all(end <= broken_at for end in found.ends.tolist())


def test_values_that_stand_free_have_no_closer() -> None:
    found = structure(b'{"a": 1}\n{"b": [2]}\n', closer=b"")
    assert (found.starts.tolist(), found.ends.tolist(), found.broken_at) == ([0, 9], [8, 19], -1)
    assert structure(b'{"a": 1}]', closer=b"").broken_at == 8


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100, 101])
def test_a_run_of_backslashes_of_any_length_is_counted(count: int) -> None:
    """An odd one takes the quote behind it into the text."""
    window = b'{"a": "' + b"\\" * count + b'"}'
    assert structure(window).ends.tolist() == ([] if count % 2 else [len(window)])


@pytest.mark.parametrize(
    ("window", "ended", "whole"),
    [
        (b'{"a": 1}, {"b"', False, True),
        (b'{"a": 1} {"b"', False, False),
        (b'{"a": 1}', False, None),
        (b'{"a": 1}', True, False),
        (b'{"a": 1}]', True, True),
        (b'{"a": [1', False, None),
        (b'{"a": [1', True, False),
        (b'{"a": 1]', False, False),
    ],
)
def test_a_value_is_whole_when_what_may_follow_one_stands_behind_it(
    window: bytes, ended: bool, whole: bool | None
) -> None:
    """None: more bytes would tell."""
    assert is_whole(window, 0, b"]", ended=ended, longest=100) is whole


def test_a_value_over_the_limit_is_given_up_rather_than_waited_for() -> None:
    assert is_whole(b'{"a": "' + b"x" * 50, 0, b"]", ended=False, longest=20) is False


def test_records_are_looked_for_by_the_keys_and_the_margin_they_start_with() -> None:
    starts = RecordStarts()
    text = b'[\n  {"id": 1,\n   "inner": {"id": 5}},\n  {"id": 2}]'
    for place, first in ((4, True), (text.rindex(b"{"), False)):
        starts.learn(text, place, first=first)
    assert [match.start() for match in starts.pattern().finditer(text)] == [4, text.rindex(b"{")]


def test_before_any_record_is_known_any_key_starts_one_and_no_joint_is_plain() -> None:
    starts = RecordStarts()
    assert starts.pattern().search(b'x {"any": 1}') is not None
    assert list(starts.joints(b'{"a": 1}, {"a": 2}')) == []
    starts.learn(b'{"a": 1}', 0, first=True)
    assert [match.span() for match in starts.joints(b'{"a": 1} , {"a": 2}, {"b": 3}')] == [(8, 11)]
