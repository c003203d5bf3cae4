"""What the tool formats share: wrapped and bare definitions, JSON as upstream writes it, named refusals."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from registry.rules import rules
from stages.core.conversation import ToolCall
from stages.render.tool_formats.base import ToolFormatError, arguments, as_json, bare, call_json, text, wrapped
from tests.support.tool_calls import json_values

TOOL = {"name": "f", "parameters": {}}


def test_wrapping_and_unwrapping_undo_each_other() -> None:
    assert bare(wrapped(TOOL)) == bare(TOOL) == TOOL
    assert wrapped(bare(wrapped(TOOL))) == wrapped(TOOL)


@pytest.mark.parametrize("odd", [{"type": "function"}, {"type": "function", "function": "f"}, {"type": "code"}])
def test_a_wrapper_without_a_function_is_left_as_it_is(odd: dict[str, object]) -> None:
    assert bare(odd) == odd


@given(json_values)
def test_json_reads_back_and_only_texts_are_written_bare(value: object) -> None:
    assert json.loads(as_json(value)) == value
    assert text(value) == (value if isinstance(value, str) else as_json(value))


def test_json_is_written_as_python_does_it_without_ascii_escapes() -> None:
    assert call_json(ToolCall("f", {"a": ["é", 1]})) == '{"name": "f", "arguments": {"a": ["é", 1]}}'
    assert call_json(ToolCall("f", None), "parameters") == '{"name": "f", "parameters": null}'


@pytest.mark.parametrize("given", [None, [], "{}", 3])
def test_arguments_that_are_no_object_raise_the_error_with_its_rule(given: object) -> None:
    with pytest.raises(ToolFormatError, match="no object") as caught:
        arguments(ToolCall("a long name " * 20, given))
    assert rules()[caught.value.rule].fixed
    assert len(str(caught.value)) < 200, "a name without end is cut"
