"""OpenAI: calls, results and tools as real JSON both ways, whatever can be JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.formats.losses import Loss
from stages.formats.messages import RESULT_BORDER
from stages.formats.openai import Reader, write
from stages.formats.table import FORMATS

FIELDS = FORMATS["openai"].default_fields
ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers(0, 9) | st.text(max_size=3) | st.none(), max_size=3)


def user(text: str = "q") -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str = "a") -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def calling(*calls: tuple[str, object]) -> dict[str, Any]:
    listed = [
        {"id": call_id, "type": "function", "function": {"name": "f", "arguments": arguments}}
        for call_id, arguments in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": listed}


def result(call_id: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def read(*messages: dict[str, Any], kind: str = "sft", **more: Any) -> tuple[Conversation | None, list[Note]]:
    notes: list[Note] = []
    return Reader(FIELDS, kind)({"messages": list(messages), **more}, notes), notes


def written(conversation: Conversation) -> tuple[dict[str, Any], list[str]]:
    losses: list[Loss] = []
    return write(conversation, FIELDS, "sft", losses), [item.what for item in losses]


@settings(max_examples=40)
@given(st.lists(ARGUMENTS, min_size=1, max_size=3), st.text(max_size=4))
def test_calls_and_their_results_come_back_as_they_were(arguments: list[dict[str, Any]], text: str) -> None:
    calls = [(f"c{at}", json.dumps(one)) for at, one in enumerate(arguments)]
    messages = [user(), calling(*calls), *(result(call_id, text) for call_id, _ in calls), answer()]
    found, _ = read(*messages)
    assert found is not None
    assert [call.arguments for call in found.messages[1].calls] == arguments
    made, losses = written(found)
    again, _ = read(*made["messages"])
    assert again is not None
    assert again.messages == found.messages
    assert losses == []


def test_results_are_one_turn_and_one_message_each_again() -> None:
    found, _ = read(user(), calling(("c1", "{}"), ("c2", "{}")), result("c1", "1"), result("c2", "2"), answer())
    assert found is not None
    assert [message.content for message in found.messages] == ["q", "", f"1{RESULT_BORDER}2", "a"]
    made, _ = written(found)
    assert made["messages"][2:4] == [result("c1", "1"), result("c2", "2")]


def test_a_call_of_another_format_is_given_an_id_that_its_result_repeats() -> None:
    talk = Conversation(
        (
            Message("user", "q"),
            Message("function", "", "/1", (ToolCall("f", {"x": 1}),)),
            Message("observation", "1", "/2"),
            Message("assistant", "a"),
        )
    )
    messages = written(talk)[0]["messages"]
    (call,) = messages[1]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"x": 1}
    assert call["id"] == messages[2]["tool_call_id"] != ""


def test_the_system_prompt_is_always_the_leading_message() -> None:
    made, _ = written(Conversation((Message("user", "q"), Message("assistant", "a")), system="S", system_at="/system"))
    assert made == {"messages": [{"role": "system", "content": "S"}, user(), answer()]}


@pytest.mark.parametrize(
    ("messages", "rule", "at"),
    [
        ([user(), calling(("c", "{x")), answer()], "tools.arguments-not-json", "/messages/1"),
        ([user(), answer(), answer()], "role.repeated-answer", "/messages/2"),
        ([user(), {**answer(), "tool_calls": []}, user()], "role.last-not-answer", "/messages/2"),
    ],
)
def test_a_record_that_cannot_be_trained_is_refused_at_its_place(
    messages: list[dict[str, Any]], rule: str, at: str
) -> None:
    found, notes = read(*messages)
    assert found is None
    assert rule in [note.rule for note in notes]
    assert any(note.pointer.startswith(at) for note in notes)
