"""What the writers of all formats share: every key is carried or its loss is stated, none is overwritten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from registry.datasets.types import Fields
from stages.core.conversation import Conversation, Message, ToolCall
from stages.formats.chat_writer import Turns, add_extra, add_system, add_tools, beside, is_empty, text_only, write_chat
from stages.formats.losses import Loss
from stages.formats.table import FORMATS

FIELDS = FORMATS["sharegpt"].default_fields
TALK = Conversation((Message("user", "q", "/0"), Message("assistant", "a", "/1")))


def said(losses: list[Loss]) -> list[tuple[str, str]]:
    return [(item.what, item.pointer) for item in losses]


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_a_value_that_says_no_more_than_a_missing_key_is_empty(value: object) -> None:
    assert is_empty(value)


@pytest.mark.parametrize("value", [0, False, 0.0, " ", [None], {"a": None}])
def test_a_value_that_says_something_is_not(value: object) -> None:
    assert not is_empty(value)


def test_keys_of_the_record_win_over_those_of_the_message() -> None:
    """A conversation that was no chat record has what stands beside its text in fields of its own."""
    message = Message("assistant", "a", weight=1.0, reasoning="hm", name="Ann", call_id="c1")
    assert beside(message) == {"weight": 1, "reasoning_content": "hm", "name": "Ann", "tool_call_id": "c1"}
    assert beside(message._replace(weight=0.5))["weight"] == 0.5
    assert beside(message._replace(extras=({"loss": True},))) == {"loss": True}


def test_a_key_beside_the_text_never_overwrites_role_or_text() -> None:
    losses: list[Loss] = []
    message = Message("assistant", "a", "/1", extras=({"value": "other", "from": None, "id": 7},))
    assert Turns(FIELDS, losses).turn(message) == [{"from": "gpt", "value": "a", "id": 7}]
    assert said(losses) == [("message-key", "/1/value"), ("empty-field", "/1/from")]


def test_calls_are_counted_over_the_record_but_not_over_its_answers() -> None:
    turns = Turns(FIELDS, [])
    call = Message("function", "", "/1", (ToolCall("f", {}), ToolCall("g", {}, "mine")))
    turns.turn(call)
    first = turns.ids
    turns.answer(call)
    turns.turn(call)
    assert first[1] == turns.ids[1] == "mine"
    assert first[0] != turns.ids[0]
    assert turns.calls == 4


def test_a_format_without_tool_results_has_to_say_how_it_writes_them() -> None:
    with pytest.raises(NotImplementedError):
        Turns(FIELDS, []).turn(Message("observation", "1", "/1"))


@pytest.mark.parametrize(
    ("leading", "column", "where"),
    [(True, "system", "message"), (False, "system", "field"), (False, None, "message"), (True, None, "message")],
)
def test_a_system_prompt_is_a_leading_message_or_a_field_and_never_both(
    leading: bool, column: str | None, where: str
) -> None:
    losses: list[Loss] = []
    fields = replace(FIELDS, system=column)
    made = write_chat(TALK._replace(system="S"), fields, "sft", Turns(fields, losses), leading=leading, tools=None)
    first = made["conversations"][0]
    assert (first == {"from": "system", "value": "S"}, made.get("system") == "S") == (
        where == "message",
        where == "field",
    )
    assert losses == []


def test_what_has_no_column_is_stated() -> None:
    losses: list[Loss] = []
    record: dict[str, Any] = {}
    talk = TALK._replace(system="S", system_at="/system", tools="[]", tools_at="/tools")
    add_system(record, talk, Fields(), losses)
    add_tools(record, talk.tools, talk, Fields(), losses)
    assert record == {}
    assert said(losses) == [("system", "/system"), ("tools", "/tools")]


def test_keys_that_no_field_took_are_carried_unless_they_mean_something_here() -> None:
    losses: list[Loss] = []
    record: dict[str, Any] = {"conversations": []}
    extra = {"id": 7, "conversations": "x", "tools": "y", "images": ["a.png"], "from": 1}
    add_extra(record, TALK._replace(extra=extra), FIELDS, losses)
    assert record == {"conversations": [], "id": 7, "images": ["a.png"], "from": 1}
    assert said(losses) == [("record-key", "/conversations"), ("record-key", "/tools")]


def test_a_text_alone_keeps_the_thought_in_front_of_an_answer() -> None:
    losses: list[Loss] = []
    assert text_only(Message("assistant", "a", "/1", reasoning="hm"), "a", losses) == "<think>\nhm\n</think>\n\na"
    assert text_only(Message("user", "q", "/0", name="Ann"), "q", losses) == "q"
    assert said(losses) == [("reasoning", "/1/reasoning_content"), ("name", "/0/name")]
