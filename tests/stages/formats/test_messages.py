"""Messages in one step are those made one by one, and a weight is read and judged the same in every format."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.rules import rules
from stages.core.conversation import Message
from stages.core.findings import Note
from stages.formats.messages import key_pointer, message_weight, plain_message, plain_messages, weight_notes


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=4), st.text(max_size=4))))
def test_messages_in_one_step_are_those_made_one_by_one(parts: list[tuple[str, str, str]]) -> None:
    roles, contents, ats = zip(*parts, strict=True) if parts else ((), (), ())
    assert plain_messages(roles, contents, ats) == [Message(*part) for part in parts]
    assert [plain_message(*part) for part in parts] == [Message(*part) for part in parts]


@pytest.mark.parametrize(
    ("raw", "weight"),
    [
        ({}, None),
        ({"weight": 1, "train": False}, 1.0),
        ({"weight": None, "train": False}, 0.0),
        ({"loss": True}, 1.0),
        ({"loss": 0.5}, 0.5),
        ({"weight": "1"}, None),
    ],
)
def test_a_weight_is_the_first_number_under_its_three_names(raw: dict[str, Any], weight: float | None) -> None:
    assert message_weight(raw) == weight


@pytest.mark.parametrize(
    ("kind", "weights", "said"),
    [
        ("sft", (None, 0, None, 0), [("weight.all-zero", "/3")]),
        ("kto", (None, 0, None, 0), []),
        ("sft", (None, 0, None, 1), []),
        ("sft", (None, None, None, None), []),
        ("sft", (1, 1, 0, 1), [("weight.on-prompt", "/0")]),
        ("sft", (None, 0.5, None, 1), [("weight.fraction", "/1")]),
    ],
)
def test_a_weight_without_the_meant_effect_is_noted(
    kind: str, weights: tuple[float | None, ...], said: list[tuple[str, str]]
) -> None:
    notes: list[Note] = []
    messages = [
        Message(("user", "assistant")[at % 2], "text", f"/{at}", weight=weight) for at, weight in enumerate(weights)
    ]
    weight_notes(messages, kind, notes)
    assert [(note.rule, note.pointer) for note in notes] == said
    assert all(note.rule in rules() for note in notes)


def test_the_pointer_of_an_unmapped_key_is_the_record() -> None:
    assert key_pointer(None) == ""
    assert key_pointer("a/b~") == "/a~1b~0"
