"""Every text of a record has its own place, in the record's own keys."""

from __future__ import annotations

from typing import Any

from registry.datasets.types import Fields
from stages.core.conversation import Conversation
from stages.core.findings import Note
from stages.formats.table import FORMATS
from stages.validate.places import Places, beside_text, tools_text

CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": ["y"]}'}},
    {"id": "c2", "type": "function", "function": {"name": "g", "arguments": {"k": "v"}}},
]
TURNS = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U"},
    {"role": "assistant", "content": None, "tool_calls": CALLS},
    {"role": "tool", "content": "R1", "tool_call_id": "c1"},
    {"role": "tool", "content": "R2", "tool_call_id": "c2", "name": "n"},
    {"role": "assistant", "content": "A", "reasoning_content": "T"},
]
TOOLS = [{"name": "f", "description": "d", "parameters": {"properties": {"x": {"enum": ["e"]}}}}]


def read(name: str, record: dict[str, Any], fields: Fields | None = None) -> tuple[Places, Conversation]:
    form = FORMATS[name]
    fields = fields or form.default_fields
    notes: list[Note] = []
    found = form.read(fields, "sft")(record, notes)
    assert found is not None, notes
    return Places(fields, f"/{fields.content_tag}" if form.family in ("openai", "sharegpt") else ""), found


def places(name: str, record: dict[str, Any]) -> dict[str, str]:
    given, found = read(name, record)
    return {placed.at: placed.text for placed in given.texts(record, found)}


def test_calls_thoughts_and_results_of_an_openai_record_stand_where_they_were_read() -> None:
    assert places("openai", {"messages": TURNS}) == {
        "/messages/0/content": "S",
        "/messages/1/content": "U",
        "/messages/2/tool_calls/0/function/name": "f",
        "/messages/2/tool_calls/0/function/arguments": "x\ny",
        "/messages/2/tool_calls/1/function/name": "g",
        "/messages/2/tool_calls/1/function/arguments/k": "v",
        "/messages/3/content": "R1",
        "/messages/4/content": "R2",
        "/messages/5/content": "A",
        "/messages/5/reasoning_content": "T",
    }


def test_the_border_between_joined_results_is_no_text_of_the_record() -> None:
    assert "</tool_response>" not in "".join(places("openai", {"messages": TURNS}).values())
    own = [dict(turn) for turn in TURNS[:4]] + [TURNS[5]]
    own[3]["content"] = "a\n</tool_response>\n<tool_response>\nb"
    assert places("openai", {"messages": own})["/messages/3/content"] == own[3]["content"]


def test_a_call_that_is_a_text_stands_where_that_text_does() -> None:
    call = '{"name": "f", "arguments": {"x": "\\u003cy\\u003e"}}'
    record = {"conversations": [{"from": "human", "value": "U"}, {"from": "function_call", "value": call}]}
    assert places("sharegpt", record)["/conversations/1/value"] == "f\nx\n<y>"


def test_an_alpaca_record_has_a_place_for_each_field() -> None:
    record = {"instruction": "I", "input": "P", "output": "O", "system": "S", "history": [["Q", "A"]]}
    fields = Fields(prompt="instruction", query="input", response="output", system="system", history="history")
    given, found = read("alpaca", record, fields)
    assert [(text, at) for text, at, _ in given.texts(record, found)] == [
        ("S", "/system"), ("Q", "/history/0/0"), ("A", "/history/0/1"), ("I", "/instruction"), ("P", "/input"),
        ("O", "/output"),
    ]  # fmt: skip
    assert [at for _, at, is_answer in given.texts(record, found) if is_answer] == ["/history/0/1", "/output"]


def test_tools_names_and_ids_are_texts_beside_the_conversation() -> None:
    record = {"messages": TURNS, "tools": TOOLS}
    given, found = read("openai", record)
    beside = {at: text for text, at, _ in given.beside(record, found)}
    assert beside["/tools/0/description"] == "d"
    assert beside["/tools/0/parameters/properties/x/enum/0"] == "e"
    assert beside["/messages/2/tool_calls/1/id"] == "c2"
    assert all(text in beside_text(found) for text in beside.values())


def test_a_tool_list_that_is_a_text_has_one_place() -> None:
    record = {"conversations": [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}], "tools": '[{"name"'}
    given, found = read("sharegpt", record)
    assert next(given.beside(record, found))[:2] == ('[{"name"', "/tools")


def test_escapes_in_the_json_of_tools_hide_nothing() -> None:
    assert tools_text('[{"name": "\\u003c\\/s>"}]').endswith("</s>")
    assert tools_text('{"\\') == '{"\\', "what is no JSON is searched as it stands"


def test_half_a_surrogate_pair_in_the_id_of_a_call_is_no_crash() -> None:
    call = '{"name": "f", "arguments": {}, "id": "\\ud83d"}'
    record = {"conversations": [{"from": "human", "value": "U"}, {"from": "function_call", "value": call}]}
    assert beside_text(read("sharegpt", record)[1]) == "?"
