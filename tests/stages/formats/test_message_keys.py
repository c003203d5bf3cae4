"""Keys of messages that no reader takes: found once each, at their place, and only where they may be meant."""

from __future__ import annotations

from typing import Any

import pytest

from stages.core.conversation import THOUGHT_KEYS, Conversation, Message
from stages.formats.message_keys import given_keys, message_keys, other_keys


def message(role: str, at: str, **extras: Any) -> Message:
    return Message(role, "text", at, extras=(extras,))


def keys_of(*messages: Message, **more: Any) -> list[tuple[str, str, str]]:
    return list(message_keys(Conversation(messages, **more)))


@pytest.mark.parametrize("key", ["role", "content", "tool_calls", "tool_call_id", "weight", "train", *THOUGHT_KEYS])
def test_what_a_reader_takes_is_no_further_key(key: str) -> None:
    assert other_keys({key: "x", "mood": "glad"}) == {"mood": "glad"}


@pytest.mark.parametrize(
    ("value", "kept"), [(None, False), ("", False), ([], False), ({}, False), (0, True), (" ", True)]
)
def test_a_key_that_holds_nothing_is_none(value: object, kept: bool) -> None:
    assert bool(other_keys({"mood": value})) is kept


def test_results_that_were_joined_have_no_keys_as_one_turn() -> None:
    one = message("observation", "/2", mood="glad")
    assert given_keys(one) == {"mood": "glad"}
    assert given_keys(one._replace(extras=(*one.extras, {"mood": "sad"}))) == {}
    assert given_keys(Message("user", "text")) == {}


def test_each_key_is_named_once_at_its_first_place() -> None:
    found = keys_of(message("user", "/0", mood="glad"), message("assistant", "/1", mood="sad", tone="low"))
    assert found == [("mood", "glad", "/0/mood"), ("tone", "low", "/1/tone")]


def test_answers_of_a_pair_and_the_system_message_are_looked_at_too() -> None:
    found = keys_of(
        Message("user", "q", "/messages/1"),
        chosen=message("assistant", "/chosen", tone="low"),
        system="S",
        system_at="/messages/0/content",
        system_keys={"mood": "glad"},
    )
    assert found == [("mood", "glad", "/messages/0/mood"), ("tone", "low", "/chosen/tone")]


@pytest.mark.parametrize(
    ("role", "extras", "named"),
    [
        ("user", {"id": "m1", "Model": "x", "turn_id": "7"}, False),
        ("user", {"mood": " \n"}, False),
        ("user", {"mood": 5}, False),
        ("observation", {"name": "f"}, False),
        ("user", {"name": "Ann"}, True),
    ],
)
def test_what_names_or_dates_a_message_is_not_meant_for_training(
    role: str, extras: dict[str, Any], named: bool
) -> None:
    assert bool(keys_of(message(role, "/0", **extras))) is named


def test_of_several_thoughts_those_that_are_not_read_are_named() -> None:
    first, second = THOUGHT_KEYS[:2]
    assert keys_of(message("assistant", "/1", **{second: "b", first: "a"})) == [(second, "b", f"/1/{second}")]
    assert keys_of(message("assistant", "/1", **{first: "a", second: "a"})) == []


@pytest.mark.parametrize(
    ("role", "extras", "text"),
    [
        ("assistant", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, '"hm"'),
        ("assistant", {"train_detail": [{"begin_offset": 0, "end_offset": 4, "train": False}]}, "begin_offset"),
        ("assistant", {"training": False}, "false"),
        ("assistant", {"masked": True}, "true"),
        ("assistant", {"training": True}, ""),
        ("user", {"training": False}, ""),
        ("assistant", {"toxic": False}, ""),
        ("assistant", {"scores": [1, 2]}, ""),
    ],
)
def test_thoughts_in_parts_and_words_about_the_loss_are_no_less_than_texts(
    role: str, extras: dict[str, Any], text: str
) -> None:
    """Unread, the model would learn to think nothing, or learn what was taken out."""
    found = keys_of(message(role, "/0", **extras))
    assert [key for key, _, _ in found] == list(extras) * bool(text)
    assert all(text in value for _, value, _ in found)
