"""Every text inside a call is found, in one order, however deep it lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.conversation import Conversation, Message, ToolCall
from stages.validate.call_texts import call_texts, texts_of_calls


def calling(*calls: ToolCall, reasoning: str | None = None) -> Message:
    return Message("function", "", calls=calls, reasoning=reasoning)


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ({"a": "x", "b": "y"}, ["a", "b", "x", "y"]),
        ({"a": {"b": ["x", {"c": "y"}]}}, ["a", "b", "x", "c", "y"]),
        ({"a": 1.5, "b": None}, ["a", "b", "1.5", "None"]),
        (["x", "y"], ["x", "y"]),
        ({}, []),
    ],
)
def test_names_and_every_text_of_the_arguments_are_found(arguments: object, texts: list[str]) -> None:
    assert texts_of_calls(calling(ToolCall("f", arguments))) == ["f", *texts]


@given(st.integers(1, 2000))
def test_arguments_of_any_depth_are_no_crash(depth: int) -> None:
    arguments: object = "deep"
    for _ in range(depth):
        arguments = [arguments]
    assert texts_of_calls(calling(ToolCall("f", arguments))) == ["f", "deep"]


def test_thoughts_come_before_calls_and_answers_after_the_turns() -> None:
    found = Conversation(
        (Message("user", "q"), calling(ToolCall("f", {}), reasoning="hm")),
        chosen=calling(ToolCall("g", {})),
        rejected=Message("assistant", "plain"),
    )
    assert call_texts(found) == ["hm", "f", "g"]
