"""Alpaca: one question and answer with the turns before them; what has no place is stated, not dropped silently."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.formats.alpaca import Reader, write
from stages.formats.losses import Loss
from stages.formats.table import FORMATS

FIELDS = FORMATS["alpaca"].default_fields
TURNS = st.lists(st.text(max_size=5), min_size=2, max_size=8).filter(lambda texts: not len(texts) % 2)


def talk(*texts: str, **more: Any) -> Conversation:
    return Conversation(
        tuple(Message(("user", "assistant")[at % 2], text, f"/messages/{at}") for at, text in enumerate(texts)), **more
    )


def written(conversation: Conversation, kind: str = "sft", **fields: str | None) -> tuple[dict[str, Any], list[str]]:
    losses: list[Loss] = []
    record = write(conversation, replace(FIELDS, **fields), kind, losses)
    return record, [item.what for item in losses]


@settings(max_examples=50)
@given(TURNS, st.none() | st.text(max_size=3))
def test_turns_come_back_as_they_were(texts: list[str], system: str | None) -> None:
    record, losses = written(talk(*texts, system=system))
    assert losses == []
    again = Reader(FIELDS, "sft")(record, [])
    assert again is not None
    assert [message.content for message in again.messages] == texts
    assert again.system == system


def test_the_last_question_is_the_instruction_and_earlier_turns_are_history() -> None:
    record, _ = written(talk("q1", "a1", "q2", "a2"))
    assert record == {"instruction": "q2", "input": "", "output": "a2", "history": [["q1", "a1"]]}


def test_a_map_without_a_column_for_it_states_the_loss() -> None:
    record, losses = written(talk("q1", "a1", "q2", "a2", system="S"), history=None, system=None)
    assert record == {"instruction": "q2", "input": "", "output": "a2"}
    assert sorted(losses) == ["system", "turns", "turns"]


def test_turns_that_make_no_pairs_have_no_place_in_the_history() -> None:
    questions = (Message("user", "q1", "/messages/0"), Message("user", "q2", "/messages/1"))
    record, losses = written(Conversation((*questions, Message("assistant", "a"))))
    assert record == {"instruction": "q2", "input": "", "output": "a"}
    assert losses == ["turns"]


def test_a_tool_turn_becomes_an_ordinary_one_and_says_so() -> None:
    call = Message("function", "", "/messages/1", (ToolCall("f", {"x": 1}),))
    record, losses = written(
        Conversation((Message("user", "q"), call, Message("observation", "1"), Message("assistant", "a")))
    )
    assert losses == ["tool-turn", "tool-turn"]
    assert '"name": "f"' in record["history"][0][1]
    assert record["output"] == "a"


def test_a_thought_goes_in_front_of_its_answer_and_a_weight_is_stated() -> None:
    answer = Message("assistant", "a", "/messages/1", weight=0.0, reasoning="hm")
    record, losses = written(Conversation((Message("user", "q"), answer)))
    assert record["output"] == "<think>\nhm\n</think>\n\na"
    assert sorted(losses) == ["reasoning", "weight"]


@pytest.mark.parametrize(
    ("kind", "record", "key"),
    [("sft", {"instruction": "q"}, "output"), ("kto", {"instruction": "q", "output": None}, "output")],
)
def test_a_record_without_an_answer_is_refused_by_name(kind: str, record: dict[str, Any], key: str) -> None:
    notes: list[Note] = []
    assert Reader(FIELDS, kind)(record, notes) is None
    assert [note.rule for note in notes] == ["answer.missing"]
    assert f'"{key}"' in notes[0].message


def test_the_answer_that_a_pair_lacks_is_the_one_named() -> None:
    notes: list[Note] = []
    fields = FORMATS["alpaca-dpo"].default_fields
    assert Reader(fields, "pref")({"instruction": "q", "chosen": "c"}, notes) is None
    assert '"rejected"' in notes[0].message
