"""Tool formats that write each argument between tags of its own."""

from __future__ import annotations

import json

import pytest

from stages.core.conversation import ToolCall
from stages.render.tool_formats.base import ToolFormatError
from stages.render.tool_formats.xml_calls import (
    glm4moe_calls,
    minimax2_calls,
    qwen35_calls,
    qwen35_prompt,
    seed_calls,
    seed_prompt,
)

DATE = "2026-11-21"
WRITERS = (glm4moe_calls, minimax2_calls, qwen35_calls, seed_calls)


@pytest.mark.parametrize("written", ['[{"type": "function", "function": {"name": "f"}}]', '{"name": "f"}', '"f"'])
def test_seed_oss_writes_the_tools_as_they_stand(written: str) -> None:
    """As upstream: wrapped definitions stay wrapped, and one definition need not be in a list."""
    assert f"tools.\n{written}\n" in seed_prompt(json.loads(written), DATE)


@pytest.mark.parametrize("value", [5, None, 1.5, True])
def test_seed_oss_takes_no_tools_that_are_a_number_or_nothing(value: object) -> None:
    with pytest.raises(TypeError, match="neither a list nor an object"):
        seed_prompt(value, DATE)  # type: ignore[arg-type]  # what a record may hold


@pytest.mark.parametrize("write", WRITERS)
def test_a_text_stands_as_it_is_and_anything_else_as_json(write: object) -> None:
    written = write([ToolCall("f", {"a": 'say "ü"\n</x>', "b": {"c": ["d", None, 1.5]}})])  # type: ignore[operator]
    assert 'say "ü"\n</x>' in written
    assert '{"c": ["d", null, 1.5]}' in written


@pytest.mark.parametrize("write", WRITERS)
def test_arguments_without_names_are_refused(write: object) -> None:
    with pytest.raises(ToolFormatError, match='"f" are no object'):
        write([ToolCall("g", {}), ToolCall("f", "x")])  # type: ignore[operator]


def test_qwen3_5_closes_every_tag_it_opens() -> None:
    written = qwen35_calls([ToolCall("f", {"a": 1}), ToolCall("g", {})])
    assert written == (
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>\n"
        "<tool_call>\n<function=g>\n</function>\n</tool_call>"
    )


def test_the_definitions_of_qwen3_5_stand_one_a_line_unwrapped() -> None:
    tool = {"name": "f", "parameters": {"x": "é"}}
    listed = qwen35_prompt([{"type": "function", "function": tool}, tool], DATE)
    body = listed.split("<tools>\n", 1)[1].split("\n</tools>", 1)[0]
    assert [json.loads(line) for line in body.split("\n")] == [tool, tool]
