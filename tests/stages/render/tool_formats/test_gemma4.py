"""Gemma 4's own notation: declarations and calls as upstream writes them, whatever the values are."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.conversation import ToolCall
from stages.render.tool_formats.gemma4 import calls, gemma4_prompt

DATE = "2026-11-21"


def test_gemma4_declares_what_a_tool_gives_back() -> None:
    about = {"name": "f", "response": {"type": "object", "description": "the tide"}}
    response = ',response:{description:<|"|>the tide<|"|>,type:<|"|>OBJECT<|"|>}}'
    assert gemma4_prompt([about], DATE) == 'declaration:f{description:<|"|><|"|>' + response
    about["response"] = {"type": "string"}
    assert gemma4_prompt([about], DATE).endswith(",response:{}}")


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (None, "{null}"),
        ([1, "a"], '{[1,<|"|>a<|"|>]}'),
        (5, "{5}"),
        (False, "{false}"),
        ("a b", "{a b}"),
        ({"a": math.nan}, "{a:nan}"),
        ({"a": [math.inf, -math.inf, 1e16]}, "{a:[inf,-inf,1e+16]}"),
    ],
)
def test_gemma4_writes_any_arguments_as_upstream_does(arguments: object, written: str) -> None:
    assert calls([ToolCall("f", arguments)]) == f"<|tool_call>call:f{written}<tool_call|>"


def test_a_declaration_lists_properties_then_what_is_required_then_the_type() -> None:
    about = {"harbour": {"type": "string", "description": "where"}, "deep": {}}
    tool = {"name": "tide", "parameters": {"type": "object", "required": ["harbour"], "properties": about}}
    assert gemma4_prompt([tool], DATE) == (
        'declaration:tide{description:<|"|><|"|>,parameters:{properties:{harbour:{description:<|"|>where<|"|>,'
        'type:<|"|>STRING<|"|>},deep:{}},required:[<|"|>harbour<|"|>],type:<|"|>OBJECT<|"|>}}'
    )


@given(st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.integers(), min_size=1, max_size=6), st.randoms())
def test_the_order_of_arguments_does_not_change_the_text(values: dict[str, int], rng: Any) -> None:
    names = list(values)
    rng.shuffle(names)
    assert calls([ToolCall("f", {name: values[name] for name in names})]) == calls([ToolCall("f", values)])


def test_calls_of_a_turn_follow_one_another_without_a_break() -> None:
    assert calls([ToolCall("f", {}), ToolCall("g", {"a": [1, None]})]) == (
        "<|tool_call>call:f{}<tool_call|><|tool_call>call:g{a:[1,null]}<tool_call|>"
    )


def test_properties_that_are_no_object_cannot_be_declared() -> None:
    with pytest.raises(AttributeError):
        gemma4_prompt([{"name": "f", "parameters": {"properties": ["a"]}}], DATE)
