"""The default tool format: definitions as prose, calls as Action and Action Input."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from stages.core.conversation import ToolCall
from stages.render.tool_formats.prose import default_calls, default_calls_092, default_prompt
from tests.support.tool_calls import tool_calls

DATE = "2026-11-21"


def test_enumerations_and_items_stand_in_the_default_format() -> None:
    about = {"type": "array", "description": "d", "enum": ["x", 2], "items": {"type": "string"}}
    listed = [{"name": "t", "parameters": {"properties": {"a": about}, "required": []}}]
    line = "  - a (array): d, should be one of [x, 2], where each item should be string\n"
    assert line in default_prompt(listed, DATE)


def test_only_required_parameters_are_marked() -> None:
    about = {"x": {"type": "integer", "description": "how many"}, "y": {"type": "string"}}
    listed = [{"name": "t", "description": "d", "parameters": {"properties": about, "required": ["x"]}}]
    block = "Tool Args:\n  - x (integer, required): how many\n  - y (string): \n\n"
    assert block in default_prompt(listed, DATE)


def test_the_names_of_all_tools_stand_in_the_instruction() -> None:
    assert "(one of [a, b])" in default_prompt([{"name": "a"}, {"type": "function", "function": {"name": "b"}}], DATE)


@pytest.mark.parametrize("parameters", [None, {}, {"properties": None}, {"properties": {"x": "no schema"}}])
def test_a_sparse_definition_is_listed_all_the_same(parameters: object) -> None:
    assert "> Tool Name: t\n" in default_prompt([{"name": "t", "parameters": parameters}], DATE)


@pytest.mark.parametrize("parameters", [["x"], "x", {"properties": ["x"]}])
def test_parameters_of_another_type_cannot_be_written(parameters: object) -> None:
    """The renderer turns it into an error of the record."""
    with pytest.raises(AttributeError):
        default_prompt([{"name": "t", "parameters": parameters}], DATE)


@given(tool_calls)
def test_every_call_reads_back_and_only_the_older_version_ends_the_line(written: list[ToolCall]) -> None:
    text = default_calls(written)
    lines = text.split("\n")
    assert [line.removeprefix("Action: ") for line in lines[::2]] == [call.name for call in written]
    inputs = [json.loads(line.removeprefix("Action Input: ")) for line in lines[1::2]]
    assert inputs == [call.arguments for call in written]
    assert default_calls_092(written) == text + "\n"
