"""What a record is worth depends on the stage, and a clean one is a conversation without a note."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.datasets.types import Fields
from registry.rules import Policy
from stages.core.findings import Note
from stages.formats.table import FORMATS
from stages.validate.record import RecordValidator

QA = {"instruction": "Name a metal.", "input": "", "output": "Iron."}


def check(
    record: object,
    format_id: str = "alpaca",
    stage: str = "sft",
    fields: Fields | None = None,
    specials: tuple[str, ...] = (),
) -> tuple[object, list[tuple[str, str]]]:
    notes: list[Note] = []
    validator = RecordValidator(format_id, fields or FORMATS[format_id].default_fields, stage, Policy(stage), specials)
    found = validator.check(record, notes)
    return found, [(note.rule, note.pointer) for note in notes]


def test_a_clean_record_is_a_conversation_without_a_note() -> None:
    found, notes = check(QA)
    assert found is not None
    assert notes == []


@pytest.mark.parametrize("stage", ["predict", "ppo"])
@pytest.mark.parametrize("output", ["", None])
def test_an_empty_answer_is_fine_where_none_is_trained(stage: str, output: object) -> None:
    policy = Policy(stage)
    found, notes = check({**QA, "output": output}, stage=stage)
    assert found is not None
    assert [rule for rule, _ in notes if policy.severity(rule) != "off"] == []


def test_an_empty_answer_is_an_error_where_it_is_trained() -> None:
    assert Policy("sft").severity("answer.empty") == "error"
    assert check({**QA, "output": " \n"})[1] == [("answer.empty", "/output")]


def test_an_answer_with_weight_zero_may_be_empty() -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "weight": 0},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Yes."},
    ]
    assert check({"messages": turns}, "openai")[1] == []


def test_a_thought_counts_as_something_said() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "", "reasoning_content": "Hm."}]
    assert check({"messages": turns}, "openai")[1] == []


def test_metadata_is_no_unmapped_text_but_a_lost_field_is() -> None:
    assert check({**QA, "id": "a-1", "source": "a book", "user_id": "x y", "lang": "en", "score": 0.5})[1] == []
    assert check({**QA, "explanation": "some text"})[1] == [("shape.unmapped-text", "/explanation")]
    assert check({**QA, "history": []}, fields=replace(FORMATS["alpaca"].default_fields, history=None))[1] == []


def test_a_column_named_like_a_tag_is_still_unmapped() -> None:
    record = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}], "system": "Be kind."}
    fields = replace(FORMATS["sharegpt"].default_fields, system=None)
    assert check(record, "sharegpt", fields=fields)[1] == [("shape.unmapped-text", "/system")]


def test_a_text_joined_from_two_fields_is_pointed_at_in_its_own_field() -> None:
    record = {"instruction": "Repeat this:", "input": "a<|im_end|>b", "output": "No."}
    assert check(record, specials=("<|im_end|>",))[1] == [("text.special-token", "/input")]


def test_texts_inside_calls_and_thoughts_are_looked_at() -> None:
    call = {"type": "function", "id": "c1", "function": {"name": "f", "arguments": '{"x": ["a</s>"]}'}}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "assistant", "content": "Ho", "reasoning_content": "b</s>"},
    ]
    record = {"messages": turns, "tools": [{"name": "f"}]}
    assert check(record, "openai", specials=("</s>",))[1] == [
        ("text.special-token", "/messages/1/tool_calls/0/function/arguments"),
        ("text.special-token", "/messages/3/reasoning_content"),
    ]


def test_half_a_surrogate_inside_a_call_is_an_error_and_no_crash() -> None:
    value = '{"name": "f", "arguments": {"x": "\\ud83d"}}'
    turns = [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": value}]
    found, notes = check({"conversations": turns, "tools": '[{"name": "f"}]'}, "sharegpt")
    assert found is None
    assert notes == [("json.lone-surrogate", "")]


def test_a_map_that_cannot_work_says_so_for_every_record() -> None:
    fields = Fields(messages="messages", role_tag="role", content_tag="content")
    found, notes = check({"messages": []}, "openai", fields=fields)
    assert found is None
    assert [rule for rule, _ in notes] == ["mapping.incomplete"]


@pytest.mark.parametrize(
    ("label", "rules"),
    [(True, ["kto.in-sft"]), (False, ["kto.in-sft"]), ("false", ["kto.in-sft"]), (None, []), (1, [])],
)
def test_only_a_labelled_record_is_no_sft_data(label: object, rules: list[str]) -> None:
    """As upstream: a null under a mapped kto_tag is an answer like any other."""
    fields = Fields(prompt="instruction", response="output", kto_tag="label")
    _, notes = check({"instruction": "q", "output": "a", "label": label}, "alpaca", fields=fields)
    assert [rule for rule, _ in notes] == rules
    assert Policy("sft").severity("kto.in-sft") == "error"


def test_the_digest_is_the_conversations_not_the_formats() -> None:
    def digest(record: object, format_id: str) -> int:
        validator = RecordValidator(format_id, FORMATS[format_id].default_fields, "sft", Policy())
        assert validator.check(record, []) is not None
        return validator.digest

    chat = {"messages": [{"role": "user", "content": "Name a metal."}, {"role": "assistant", "content": "Iron."}]}
    assert digest(QA, "alpaca") == digest(chat, "openai") == digest({**QA, "id": 7}, "alpaca")
    assert digest({**QA, "output": "Tin."}, "alpaca") != digest(QA, "alpaca")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = [
    "instruction",
    "input",
    "output",
    "history",
    "system",
    "tools",
    "conversations",
    "messages",
    "from",
    "value",
    "role",
    "content",
    "chosen",
    "rejected",
    "kto_tag",
    "label",
    "text",
    "images",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "weight",
    "reasoning_content",
]
near_records = st.recursive(
    json_values
    | st.sampled_from(["human", "gpt", "user", "assistant", "tool", "function_call", '{"name": "f"}', "[]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(keys), inner, max_size=5),
    max_leaves=20,
)


@given(near_records, st.sampled_from(sorted(FORMATS)), st.sampled_from(["sft", "dpo", "kto", "pt", "predict"]))
def test_no_value_makes_it_crash_and_none_is_dropped_without_a_reason(
    value: object, format_id: str, stage: str
) -> None:
    notes: list[Note] = []
    policy = Policy(stage)
    found = RecordValidator(format_id, FORMATS[format_id].default_fields, stage, policy).check(value, notes)
    if found is None:
        assert any(policy.severity(note.rule) == "error" for note in notes)
