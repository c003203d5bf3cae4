"""The record in the middle is a value: equal by what it holds, never changed in place, made whole by its readers."""

from __future__ import annotations

import pickle

import pytest

from stages.core.conversation import Conversation, Message, ToolCall

TALK = Conversation(
    (
        Message("user", "q", "/messages/0"),
        Message("function", "", "/messages/1", (ToolCall("f", {"x": [1, None]}, "c1"),), weight=0.0),
    ),
    system="",
    extra={"id": 7},
)


def test_a_conversation_reaches_a_worker_as_it_is() -> None:
    assert pickle.loads(pickle.dumps(TALK)) == TALK


def test_another_conversation_is_made_and_the_first_stays() -> None:
    shorter = TALK._replace(messages=TALK.messages[:1])
    assert len(TALK.messages) == 2
    assert shorter != TALK
    with pytest.raises(AttributeError):
        TALK.system = "S"  # type: ignore[misc]


def test_an_absent_system_prompt_and_an_empty_one_are_told_apart() -> None:
    assert TALK.system == ""
    assert Conversation(()).system is None
    assert TALK._replace(system=None) != TALK
