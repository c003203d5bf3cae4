"""A tool list becomes real JSON and comes back; one that no record can hold stays the text it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.formats.tool_list import tools_list, tools_unwrapped

PARAMETERS = st.dictionaries(st.text(max_size=3), st.integers(0, 9) | st.text(max_size=3) | st.none(), max_size=3)
TOOLS = st.lists(st.fixed_dictionaries({"name": st.text(max_size=3)}, optional={"parameters": PARAMETERS}), max_size=3)


@given(TOOLS)
def test_bare_definitions_are_wrapped_and_unwrapped_again(tools: list[dict[str, Any]]) -> None:
    wrapped = tools_list(json.dumps(tools))
    assert wrapped == [{"type": "function", "function": tool} for tool in tools]
    assert json.loads(tools_unwrapped(json.dumps(wrapped))) == tools


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        '{"name": "f"}',
        '[{"name": "f", "most": NaN}]',
        f'[{{"name": "f", "most": {2**70}}}]',
        '[{"name": "\\ud800"}]',
        "[" * 5000,
    ],
)
def test_a_list_that_no_record_can_hold_stays_the_text_it_is(text: str) -> None:
    assert tools_list(text) == text
    assert tools_unwrapped(text) == text


def test_a_definition_that_looks_wrapped_already_is_not_wrapped_again() -> None:
    tools = [{"name": "f", "function": {"name": "f"}}]
    assert tools_list(json.dumps(tools)) == tools


def test_a_list_that_is_wrapped_in_part_is_left_as_it_is() -> None:
    tools = [{"name": "f"}, {"type": "function", "function": {"name": "g"}}]
    assert tools_list(json.dumps(tools)) == tools
    assert tools_unwrapped(json.dumps(tools)) == json.dumps(tools)
