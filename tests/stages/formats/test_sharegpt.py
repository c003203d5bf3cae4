"""ShareGPT: turns under the user's own words, calls as the text of a turn, keys beside the text kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.formats.losses import Loss
from stages.formats.messages import RESULT_BORDER
from stages.formats.sharegpt import Reader, write
from stages.formats.table import FORMATS

FIELDS = FORMATS["sharegpt"].default_fields
TEXTS = st.lists(st.text(max_size=5), min_size=1, max_size=4).map(lambda texts: texts * 2)


def record(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": word, "value": text} for word, text in turns], **more}


def read(raw: dict[str, Any], kind: str = "sft") -> tuple[Conversation | None, list[str]]:
    notes: list[Note] = []
    return Reader(FIELDS, kind)(raw, notes), [note.rule for note in notes]


@given(TEXTS, st.booleans())
def test_plain_turns_come_back_as_they_were(texts: list[str], led: bool) -> None:
    """A system prompt goes back to where it stood: a leading message, or a field of its own."""
    raw = record(*((("human", "gpt")[at % 2], text) for at, text in enumerate(texts)))
    if led:
        raw["conversations"].insert(0, {"from": "system", "value": "S"})
    else:
        raw["system"] = "S"
    found, _ = read(raw)
    assert found is not None
    losses: list[Loss] = []
    assert write(found, FIELDS, "sft", losses) == raw
    assert losses == []


def test_a_reader_says_of_each_record_whether_it_was_plain() -> None:
    """The flag is of the record read last, not of the data set."""
    reader = Reader(FIELDS, "sft")
    plain = record(("human", "q"), ("gpt", "a"))
    call = record(("human", "q"), ("function_call", '{"name": "f", "arguments": {}}'))
    seen = []
    for raw in (plain, call, plain):
        assert reader(raw, []) is not None
        seen.append(reader.plain)
    assert seen == [True, False, True]


def test_results_of_several_calls_are_one_turn_and_their_keys_are_joined() -> None:
    results = Message("observation", f"1{RESULT_BORDER}2", "/messages/2", extras=({"name": "f"}, {"name": "g"}))
    losses: list[Loss] = []
    made = write(Conversation((Message("user", "q"), results)), FIELDS, "predict", losses)
    assert made["conversations"][1] == {"from": "observation", "value": results.content, "name": "f\ng"}
    assert losses == []


def test_keys_that_cannot_be_joined_are_stated_one_by_one() -> None:
    beside: tuple[dict[str, object], ...] = ({"name": "f", "x": 1}, {"name": "two\nlines"})
    results = Message("observation", f"1{RESULT_BORDER}2", "/messages/2", extras=beside)
    losses: list[Loss] = []
    made = write(Conversation((Message("user", "q"), results)), FIELDS, "predict", losses)
    assert made["conversations"][1] == {"from": "observation", "value": results.content}
    assert sorted(item.what for item in losses) == ["message-key", "name", "name"]


def test_tool_turns_without_a_word_for_them_are_ordinary_turns_and_say_so() -> None:
    call = Message("function", "", "/1", (ToolCall("f", {}),))
    losses: list[Loss] = []
    fields = replace(FIELDS, function_tag=None, observation_tag=None)
    talk = Conversation((Message("user", "q"), call, Message("observation", "1", "/2")))
    made = write(talk, fields, "predict", losses)
    assert [turn["from"] for turn in made["conversations"]] == ["human", "gpt", "human"]
    assert [(item.what, item.pointer) for item in losses] == [("tool-turn", "/1"), ("tool-turn", "/2")]


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (record(("gpt", "a")), "role.first-not-user"),
        (record(("human", "q"), ("human", "q"), ("gpt", "a")), "role.repeated-user"),
        (record(("human", "q")), "role.last-not-answer"),
        (record(("system", "S")), "shape.no-messages"),
        (record(("human", "q"), ("function_call", "call me")), "tools.call-not-json"),
    ],
)
def test_a_record_that_cannot_be_trained_is_refused_by_name(raw: dict[str, Any], rule: str) -> None:
    assert read(raw) == (None, [rule])


def test_a_word_that_is_no_role_has_not_passed_the_schema() -> None:
    with pytest.raises(KeyError, match="narrator"):
        read(record(("narrator", "x")))


def test_an_answer_of_a_pair_under_the_users_word_is_refused() -> None:
    fields = FORMATS["sharegpt-dpo"].default_fields
    notes: list[Note] = []
    raw = record(("human", "q"), chosen={"from": "human", "value": "c"}, rejected={"from": "gpt", "value": "r"})
    assert Reader(fields, "pref")(raw, notes) is None
    assert [(note.rule, note.pointer) for note in notes] == [("preference.answer-role", "/chosen/from")]
