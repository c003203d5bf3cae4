"""What is shown of untrusted values is short, printable and leads back to its place."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.display import clean, pointer, shown

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_no_character_that_acts_on_a_terminal_is_left(text: str) -> None:
    assert not {unicodedata.category(char) for char in clean(text)} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain é 中文 👍 \u00a0", "plain é 中文 👍 \u00a0"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u202eb\u2028\u2029c\ud800", "a\\u202eb\\u2028\\u2029c\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_ordinary_text_stays_and_the_rest_becomes_its_escape(text: str, seen: str) -> None:
    assert clean(text) == seen


@settings(max_examples=30)
@given(JSON, st.integers(2, 100))
def test_a_value_is_shown_within_its_limit(value: object, limit: int) -> None:
    text = shown(value, limit)
    assert len(text) <= limit
    assert text == clean(text)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ("x" * 81, "x" * 79 + "…"),
        ("x" * 80, "x" * 80),
        ([2**70], f"[{2**70}]"),
        (["\ud800"], "['\\ud800']"),
    ],
)
def test_values_are_shown_as_json_shows_them(value: object, seen: str) -> None:
    """What JSON cannot hold is shown as Python shows it."""
    assert shown(value) == seen


def test_a_list_that_holds_itself_is_shown_without_a_crash() -> None:
    value: list[object] = []
    value.append(value)
    assert len(shown(value)) <= 80


@given(st.lists(st.text(alphabet="a~/01", max_size=4), max_size=4))
def test_a_pointer_leads_to_the_value_whatever_the_keys(parts: list[str]) -> None:
    document: object = "here"
    for part in reversed(parts):
        document = {part: document}
    for part in pointer(*parts).split("/")[1:]:
        document = json.loads(json.dumps(document))[part.replace("~1", "/").replace("~0", "~")]
    assert document == "here"
