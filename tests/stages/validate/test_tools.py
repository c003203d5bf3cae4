"""Tool lists and calls are held against each other, and no schema reaches out or hangs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.validate.tools import parse_tools, tool_notes

TIDE = {
    "name": "tide",
    "parameters": {"type": "object", "properties": {"harbour": {"type": "string"}}, "required": ["harbour"]},
}


def said(tools: Any, *calls: ToolCall, result: Message | None = None) -> list[str]:
    turns = [Message("user", "?"), Message("function", "", "/1", tuple(calls))]
    if result is not None:
        turns += [result, Message("assistant", "!")]
    text = tools if isinstance(tools, str) or tools is None else json.dumps(tools)
    notes: list[Note] = []
    record = Conversation(
        tuple(turns) if calls else (Message("user", "?"), Message("assistant", "!")), tools=text, tools_at="/tools"
    )
    fine = tool_notes(record, notes)
    fatal = {"tools.not-json", "tools.not-a-list", "tools.not-a-definition"}
    assert fine == (not fatal & {note.rule for note in notes})
    return [note.rule for note in notes]


def test_a_fitting_call_has_no_findings() -> None:
    wrapped = [{"type": "function", "function": TIDE}]
    for tools in ([TIDE], wrapped):
        assert (
            said(tools, ToolCall("tide", {"harbour": "Brest"}, "c1"), result=Message("observation", "5", call_id="c1"))
            == []
        )


@pytest.mark.parametrize(
    ("tools", "rule"),
    [
        ("[{", "tools.not-json"),
        (TIDE, "tools.not-a-list"),
        (["tide"], "tools.not-a-definition"),
        ([{"name": ""}], "tools.not-a-definition"),
        ([{"type": "function"}], "tools.not-a-definition"),
        ([{"name": "f", "parameters": {"type": "dict"}}], "tools.schema-invalid"),
        ([{"name": "f", "parameters": "none"}], "tools.schema-invalid"),
        ([{"name": "f", "parameters": {"$ref": "https://example.com/x.json"}}], "tools.remote-ref"),
        ([{"name": "f", "parameters": {"items": {"$ref": "file:///etc/passwd"}}}], "tools.remote-ref"),
        ([{"name": "f"}, {"name": "f"}], "tools.duplicate-name"),
    ],
)
def test_a_bad_tool_list_breaks_its_rule(tools: Any, rule: str) -> None:
    assert said(tools) == [rule]


def test_a_local_reference_is_followed() -> None:
    schema = {"$defs": {"name": {"type": "string"}}, "properties": {"harbour": {"$ref": "#/$defs/name"}}}
    tools = [{"name": "tide", "parameters": schema}]
    assert said(tools, ToolCall("tide", {"harbour": "Brest"})) == []
    assert said(tools, ToolCall("tide", {"harbour": 5})) == ["tools.arguments-invalid"]


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (ToolCall("tides", {"harbour": "Brest"}), "tools.undeclared"),
        (ToolCall("tide", ["Brest"]), "tools.arguments-not-object"),
        (ToolCall("tide", {}), "tools.arguments-invalid"),
    ],
)
def test_a_call_is_held_against_its_declaration(call: ToolCall, rule: str) -> None:
    assert said([TIDE], call) == [rule]


def test_calls_without_any_tools_are_reported_once() -> None:
    assert said(None, ToolCall("f", {}), ToolCall("g", {})) == ["tools.none-declared"]


def test_results_are_held_against_their_calls() -> None:
    one, two = ToolCall("tide", {"harbour": "Brest"}, "c1"), ToolCall("tide", {"harbour": "Cork"}, "c2")
    assert said([TIDE], one, result=Message("observation", "5", call_id="c9")) == ["tools.result-unknown-id"]
    assert said([TIDE], one, two, result=Message("observation", "5", call_id="c1")) == ["tools.result-count"]
    assert said([TIDE], one, two, result=Message("observation", "5", call_id="c2\nc1")) == []
    assert said([TIDE], one, one._replace(arguments={"harbour": "Cork"})) == ["tools.duplicate-call-id"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"harbour": {"pattern": "^(a+)+$"}}},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}}},
        {"properties": {"harbour": {"enum": list(range(5000))}}},
    ],
)
def test_a_hostile_schema_ends_soon(parameters: dict[str, Any]) -> None:
    started = time.monotonic()
    said([{"name": "tide", "parameters": parameters}], ToolCall("tide", {"harbour": "a" * 5000 + "!"}))
    assert time.monotonic() - started < 3


def test_the_same_list_is_parsed_once() -> None:
    text = json.dumps([TIDE])
    assert parse_tools(text, "/tools") is parse_tools(text, "/tools")


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ('[{"name": "tide", "arguments": {"harbour": "Brest"}}]', True),
        ('{"name": "tide", "arguments": {}}', True),
        ('[{"name": "wind", "arguments": {}}]', False),
        ('Call it so: {"name": "tide", "arguments": {}}', False),
        ('[{"name": "tide", "arguments": {}}', False),
        ('["arguments"]', False),
    ],
)
def test_an_answer_that_is_the_text_of_calls_is_reported(text: str, reported: bool) -> None:
    """The calls of declared tools alone: JSON that an answer is about is no call."""
    notes: list[Note] = []
    turns = (Message("user", text), Message("assistant", text, "/1"))
    assert tool_notes(Conversation(turns, tools=json.dumps([TIDE]), tools_at="/tools"), notes)
    assert [(note.rule, note.pointer) for note in notes] == [("tools.call-in-text", "/1")] * reported
