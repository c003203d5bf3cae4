"""Tool formats that write calls as JSON: what is written reads back the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.conversation import ToolCall
from stages.render.tool_formats.base import ToolFormatError
from stages.render.tool_formats.json_calls import (
    glm4_calls,
    glm4_prompt,
    lfm2_calls,
    ling_prompt,
    llama3_calls,
    llama3_prompt,
    minimax1_calls,
    mistral_calls,
    mistral_prompt,
    qwen_calls,
    qwen_prompt,
    written_date,
)
from tests.support.tool_calls import tool_calls

DATE = "2026-11-21"


@pytest.mark.parametrize("date", ["2026", "21 Nov 2026", "2026-13-01", "2026-00-10", "2026-01-32", "26-01-01", ""])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the date or int's own
        written_date(date)


@given(tool_calls)
def test_calls_written_as_json_read_back_the_same(written: list[ToolCall]) -> None:
    want = [(call.name, call.arguments) for call in written]
    listed = json.loads(mistral_calls(written))
    assert [(call["name"], call["arguments"]) for call in listed] == want
    listed = json.loads(llama3_calls(written))
    listed = [listed] if len(written) == 1 else listed
    assert [(call["name"], call["parameters"]) for call in listed] == want
    lines = [line for line in qwen_calls(written).split("\n") if line.startswith("{")]
    assert [(call["name"], call["arguments"]) for call in map(json.loads, lines)] == want


@given(tool_calls)
def test_one_call_a_line_stands_between_minimax_s_tags(written: list[ToolCall]) -> None:
    first, *lines, last = minimax1_calls(written).split("\n")
    assert (first, last) == ("<tool_calls>", "</tool_calls>")
    assert [json.loads(line) for line in lines] == [{"name": c.name, "arguments": c.arguments} for c in written]


@given(tool_calls)
def test_glm4_writes_the_name_and_then_the_arguments(written: list[ToolCall]) -> None:
    name, body = glm4_calls(written[:1]).split("\n", 1)
    assert (name, json.loads(body)) == (written[0].name, written[0].arguments)


@given(st.dates())
def test_a_date_is_written_in_english(day: object) -> None:
    iso = str(day)
    found = written_date(iso).split(" ")
    assert (int(found[0]), int(found[2])) == (int(iso[8:]), int(iso[:4]))
    assert f"Today Date: {' '.join(found)}\n" in llama3_prompt([], iso)


def test_lfm2_writes_calls_as_a_list_of_python_calls() -> None:
    made = [ToolCall("f", {"a": "x", "n": [1, None]}), ToolCall("g", {})]
    assert lfm2_calls(made) == '<|tool_call_start|>[f(a="x", n=[1, null]), g()]<|tool_call_end|>'
    with pytest.raises(ToolFormatError, match="no object"):
        lfm2_calls([ToolCall("f", ["x"])])


def test_the_definitions_of_a_prompt_read_back_as_json() -> None:
    tool = {"name": "f", "description": "潮汐", "parameters": {"type": "object", "properties": {}}}
    wrapped = {"type": "function", "function": tool}
    assert json.loads(mistral_prompt([tool], DATE)[len("[AVAILABLE_TOOLS] ") : -len("[/AVAILABLE_TOOLS]")]) == [wrapped]
    for prompt in (qwen_prompt, ling_prompt):
        listed = [line for line in prompt([tool, tool], DATE).split("\n") if '"潮汐"' in line]
        assert [json.loads(line) for line in listed] == [wrapped, wrapped]
    head, _, body = glm4_prompt([tool], DATE).partition("\n\n## f\n\n")
    assert head.endswith("可用工具")
    assert json.loads(body.rpartition("\n")[0]) == tool
