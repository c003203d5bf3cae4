"""Records become the conversations that LLaMA-Factory would make of them, and nothing beside is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.datasets.types import Fields
from registry.rules import Policy
from stages.core.conversation import Conversation, ToolCall
from stages.core.findings import Note
from stages.formats.table import FORMATS
from stages.validate.record import RecordValidator

_POLICY = Policy.make("sft", {})
_STAGES = {"openai": "sft", "openai-dpo": "dpo", "openai-kto": "kto"}


def read(
    format_id: str, record: dict[str, Any], kind: str | None = None, fields: Fields | None = None
) -> tuple[Conversation | None, list[str]]:
    form = FORMATS[format_id]
    notes: list[Note] = []
    found = form.to_conversation(record, fields or form.default_fields, kind or form.kind, notes)
    return found, [note.rule for note in notes]


def turns(found: Conversation | None) -> list[tuple[str, str]]:
    assert found is not None
    return [(message.role, message.content) for message in found.messages]


def sharegpt(*pairs: tuple[str, str], **more: object) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": text} for role, text in pairs], **more}


def openai(*texts: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


# --- alpaca -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"instruction": "A", "input": "B"}, "A\nB"),
        ({"instruction": "A", "input": ""}, "A"),
        ({"instruction": "", "input": "B"}, "B"),
        ({"instruction": None, "input": "B"}, "B"),
        ({"instruction": " ", "input": " "}, " \n "),
        ({}, ""),
    ],
)
def test_the_prompt_is_the_non_empty_ones_of_instruction_and_input(record: dict[str, Any], text: str) -> None:
    found, _ = read("alpaca", {**record, "output": "C"})
    assert turns(found) == [("user", text), ("assistant", "C")]


def test_history_comes_first_and_texts_are_never_stripped() -> None:
    record = {"instruction": " q ", "output": " a\n", "history": [["h1", " r1"], ["h2", "r2 "]], "system": " s "}
    found, _ = read("alpaca", record)
    assert turns(found) == [
        ("user", "h1"), ("assistant", " r1"), ("user", "h2"), ("assistant", "r2 "),
        ("user", " q "), ("assistant", " a\n"),
    ]  # fmt: skip
    assert found is not None
    assert found.system == " s "
    assert [message.at for message in found.messages] == [
        "/history/0/0", "/history/0/1", "/history/1/0", "/history/1/1", "/instruction", "/output",
    ]  # fmt: skip


def test_answers_of_a_pair_and_the_label_have_their_places() -> None:
    found, _ = read("alpaca-dpo", {"instruction": "q", "chosen": "c", "rejected": "r"})
    assert found is not None
    assert found.chosen is not None
    assert found.rejected is not None
    assert (found.chosen.content, found.rejected.content, turns(found)) == ("c", "r", [("user", "q")])
    found, _ = read("alpaca-kto", {"instruction": "q", "output": "a", "kto_tag": False})
    assert found is not None
    assert found.label is False


def test_an_unmapped_answer_is_told() -> None:
    found, rules = read("alpaca", {"instruction": "q", "answer": "a"}, fields=Fields(prompt="instruction"))
    assert (found, rules) == (None, ["answer.missing"])


def test_data_to_predict_may_lack_the_answer() -> None:
    found, _ = read("alpaca", {"instruction": "q"}, "predict")
    assert turns(found) == [("user", "q")]
    found, _ = read("alpaca", {"instruction": "q", "output": ""}, "predict")
    assert turns(found) == [("user", "q"), ("assistant", "")]


def test_pretraining_on_instructions_says_what_it_leaves_out() -> None:
    found, rules = read("alpaca", {"instruction": "q", "output": "a"}, "pt")
    assert turns(found) == [("user", "q")]
    assert rules == ["pretrain.answer-unused"]


def test_keys_that_nothing_took_are_kept() -> None:
    found, _ = read("alpaca", {"instruction": "q", "output": "a", "id": 7, "images": ["x.png"]})
    assert found is not None
    assert found.extra == {"id": 7, "images": ["x.png"]}
    found, _ = read("alpaca", {"instruction": "q", "output": "a"})
    assert found is not None
    assert found.extra is None


# --- sharegpt ---------------------------------------------------------------------------------------------------------


def test_a_leading_system_message_is_the_system_prompt_and_wins() -> None:
    found, rules = read("sharegpt", sharegpt(("system", "S"), ("human", "q"), ("gpt", "a"), system="T"))
    assert found is not None
    assert (found.system, found.system_at, rules) == ("S", "/conversations/0/value", ["role.two-systems"])
    assert [message.at for message in found.messages] == ["/conversations/1", "/conversations/2"]


def test_a_call_is_decoded_and_a_thought_before_it_stays_beside() -> None:
    call = {"name": "f", "arguments": {"x": 1.0, "y": "ü", "z": None}}
    for body, beside in (
        (json.dumps(call), ""),
        ("<think>\nhm\n</think>\n\n" + json.dumps(call), "<think>\nhm\n</think>\n\n"),
        (f"<tool_call>\n{json.dumps(call)}\n</tool_call>", ""),
        (f"First. <tool_call>{json.dumps(call)}</tool_call> Then.", "First.  Then."),
    ):
        found, rules = read(
            "sharegpt", sharegpt(("human", "q"), ("function_call", body), ("observation", "r"), ("gpt", "a"))
        )
        assert found is not None
        assert rules == []
        assert found.messages[1].calls == (ToolCall("f", call["arguments"]),)
        assert found.messages[1].content == beside


def test_several_calls_of_a_turn_stand_in_order() -> None:
    body = json.dumps([{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}])
    found, _ = read("sharegpt", sharegpt(("human", "q"), ("function_call", body)))
    assert found is not None
    assert [call.name for call in found.messages[1].calls] == ["f", "g"]


def test_arguments_in_text_are_the_value_they_hold() -> None:
    body = json.dumps({"name": "f", "arguments": '{"x": 1}'})
    found, rules = read("sharegpt", sharegpt(("human", "q"), ("function_call", body)))
    assert found is not None
    assert found.messages[1].calls[0].arguments == {"x": 1}
    assert rules == ["tools.arguments-encoded"]


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("call me", "tools.call-not-json"),
        ('Let me. {"name": "f", "arguments": {}}', "tools.call-not-json"),
        ("[]", "tools.call-not-json"),
        ("5", "tools.call-not-json"),
        ("[" * 5000, "tools.call-not-json"),
        ('{"arguments": {}}', "tools.call-no-name"),
        ('{"name": 5, "arguments": {}}', "tools.call-no-name"),
        ('{"name": "f"}', "tools.call-no-arguments"),
        ('{"name": "f", "arguments": "{x"}', "tools.arguments-not-json"),
    ],
)
def test_a_broken_call_is_named(body: str, rule: str) -> None:
    assert read("sharegpt", sharegpt(("human", "q"), ("function_call", body))) == (None, [rule])


def test_all_broken_calls_of_a_record_are_named_at_once() -> None:
    record = sharegpt(("human", "q"), ("function_call", "x"), ("observation", "r"), ("function_call", "y"))
    assert read("sharegpt", record)[1] == ["tools.call-not-json"] * 2


@pytest.mark.parametrize(
    ("key", "value", "weight"), [("weight", 0, 0.0), ("train", True, 1.0), ("loss", False, 0.0), ("weight", None, None)]
)
def test_a_loss_weight_is_read_under_any_of_its_names(key: str, value: object, weight: float | None) -> None:
    record = sharegpt(("human", "q"), ("gpt", "a"), ("human", "q"), ("gpt", "a"))
    record["conversations"][1][key] = value
    found, _ = read("sharegpt", record)
    assert found is not None
    assert found.messages[1].weight == weight


def test_a_preference_pair() -> None:
    record = sharegpt(("human", "q"), chosen={"from": "gpt", "value": "c"}, rejected={"from": "gpt", "value": "r"})
    found, rules = read("sharegpt-dpo", record)
    assert found is not None
    assert found.chosen is not None
    assert (turns(found), found.chosen.content, found.chosen.at, rules) == ([("user", "q")], "c", "/chosen", [])


def test_the_form_of_the_minicpm_guide_is_named_as_what_it_is() -> None:
    record = sharegpt(
        ("human", "q"),
        ("gpt", "c"),
        ("gpt", "r"),
        chosen={"from": "gpt", "value": "c"},
        rejected={"from": "gpt", "value": "r"},
    )
    assert read("sharegpt-dpo", record) == (None, ["preference.answers-in-prompt"])


def test_pretraining_takes_the_first_turn_and_says_so() -> None:
    found, rules = read("sharegpt", sharegpt(("human", "q"), ("gpt", "a")), "pt")
    assert (turns(found), rules) == ([("user", "q")], ["pretrain.turns-unused"])


# --- openai -----------------------------------------------------------------------------------------------------------


def call_of(arguments: object, call_id: str = "c1", name: str = "f") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_text_beside_calls_is_kept_and_arguments_are_decoded() -> None:
    record = {
        "messages": [
            {"role": "developer", "content": "S"},
            {"role": "user", "content": "q"},
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [call_of('{"x": 1}'), call_of({"x": 2}, "c2")],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": "2"},
            {"role": "assistant", "content": "a"},
        ],
        "tools": [{"name": "f", "description": "ü"}],
    }
    found, rules = read("openai", record)
    assert rules == []
    assert found is not None
    assert found.system == "S", "nothing is added to the system prompt"
    assert turns(found) == [
        ("user", "q"), ("function", "Let me see."),
        ("observation", "1\n</tool_response>\n<tool_response>\n2"), ("assistant", "a"),
    ]  # fmt: skip
    assert found.messages[1].calls == (ToolCall("f", {"x": 1}, "c1"), ToolCall("f", {"x": 2}, "c2"))
    assert found.messages[2].call_id == "c1\nc2"
    assert found.tools == '[{"name": "f", "description": "ü"}]'
    assert [message.at for message in found.messages] == ["/messages/1", "/messages/2", "/messages/3", "/messages/5"]


@pytest.mark.parametrize("key", ["tool_calls", "function_call"])
@pytest.mark.parametrize("format_id", ["openai", "openai-dpo", "openai-kto"])
def test_a_call_needs_no_content_even_when_no_message_has_a_third_key(key: str, format_id: str) -> None:
    """Most vendors leave `content` out beside calls; the number of keys of the other messages must not matter."""
    call = {"name": "get_tide", "arguments": "{}"}
    calling = {"role": "assistant", key: call if key == "function_call" else [{"id": "c1", "function": call}]}
    requested = openai("Tide?")
    record: dict[str, Any] = {"messages": [*requested, calling], "label": True}
    if format_id == "openai-dpo":
        record = {"messages": requested, "chosen": calling, "rejected": openai("", "No idea.")[1]}
    notes: list[Note] = []
    found = RecordValidator(format_id, FORMATS[format_id].default_fields, _STAGES[format_id], _POLICY).check(
        record, notes
    )
    assert found is not None
    answer = found.chosen or found.messages[-1]
    assert (answer.role, answer.content, answer.calls[0].name) == ("function", "", "get_tide")
    assert all(not note.rule.startswith(("shape.", "role.")) for note in notes)


_PARTS = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "function"])},
    optional={
        "content": st.sampled_from([None, "", "a"]),
        "tool_calls": st.sampled_from([None, [], [{"function": {"name": "f", "arguments": "{}"}}]]),
        "function_call": st.sampled_from([None, {"name": "f", "arguments": "{}"}]),
        "name": st.just("f"),
    },
)


@given(st.lists(_PARTS, max_size=5), st.lists(_PARTS, min_size=2, max_size=2), st.sampled_from(list(_STAGES)))
def test_no_combination_of_message_keys_ends_the_run(
    messages: list[dict[str, Any]], pair: list[dict[str, Any]], format_id: str
) -> None:
    """Whatever keys messages have or lack, a record is read or said to be wrong."""
    record = {"messages": messages, "chosen": pair[0], "rejected": pair[1], "label": True}
    notes: list[Note] = []
    fields = FORMATS[format_id].default_fields
    found = RecordValidator(format_id, fields, _STAGES[format_id], _POLICY).check(record, notes)
    assert found is not None or notes


def test_results_at_the_end_are_left_out_with_a_word() -> None:
    record = {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "tool_calls": [call_of("{}")]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
        ]
    }
    found, rules = read("openai", record)
    assert (turns(found), rules) == ([("user", "q"), ("function", "")], ["tools.trailing-result"])


def test_the_prompt_of_a_pair_may_end_with_a_tool_result_in_every_format() -> None:
    call = {"name": "get_tide", "arguments": {}}
    requested = openai("Tide?")
    calling = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": call}]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "2 m"}
    pair = [openai("", text)[1] for text in ("Two metres.", "No idea.")]
    mine, rules = read(
        "openai-dpo", {"messages": [*requested, calling, result], "chosen": pair[0], "rejected": [pair[1]]}
    )
    theirs, _ = read(
        "sharegpt-dpo",
        sharegpt(
            ("human", "Tide?"), ("function_call", json.dumps(call)), ("observation", "2 m"),
            chosen={"from": "gpt", "value": "Two metres."}, rejected={"from": "gpt", "value": "No idea."},
        ),
    )  # fmt: skip
    assert turns(mine) == turns(theirs)
    assert mine is not None and mine.chosen is not None and mine.chosen.content == "Two metres."
    assert "tools.trailing-result" not in rules


def test_the_older_function_form() -> None:
    record = {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
            {"role": "function", "name": "f", "content": "1"},
            {"role": "assistant", "content": "a"},
        ]
    }
    found, rules = read("openai", record)
    assert [role for role, _ in turns(found)] == ["user", "function", "observation", "assistant"]
    assert found is not None
    assert found.messages[1].calls == (ToolCall("f", {}),)
    assert rules == []


def test_reasoning_and_weight_are_read() -> None:
    record = {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a", "reasoning_content": "t", "weight": 0},
        ]
    }
    found, _ = read("openai", record)
    assert found is not None
    assert (found.messages[1].reasoning, found.messages[1].weight) == ("t", 0.0)


def test_a_preference_answer_may_stand_in_a_list_of_one() -> None:
    record = {
        "messages": [{"role": "user", "content": "q"}],
        "chosen": [{"role": "assistant", "content": "c"}],
        "rejected": {"role": "assistant", "content": "r"},
    }
    found, rules = read("openai-dpo", record)
    assert found is not None
    assert found.chosen is not None
    assert (found.chosen.content, found.chosen.at, rules) == ("c", "/chosen/0", [])


def test_order_is_judged_after_results_are_joined_but_places_are_the_records_own() -> None:
    record = {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "tool_calls": [call_of("{}"), call_of("{}", "c2")]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": "2"},
            {"role": "assistant", "content": "a"},
            {"role": "assistant", "content": "b"},
        ]
    }
    notes: list[Note] = []
    form = FORMATS["openai"]
    assert form.to_conversation(record, form.default_fields, "sft", notes) is None
    assert [(note.rule, note.pointer) for note in notes] == [("role.repeated-answer", "/messages/5")]


# --- all --------------------------------------------------------------------------------------------------------------


def test_the_same_conversation_from_three_formats_is_the_same() -> None:
    conversations = [
        read("alpaca", {"instruction": "q2", "output": "a2", "system": "S", "history": [["q1", "a1"]]})[0],
        read("sharegpt", sharegpt(("system", "S"), ("human", "q1"), ("gpt", "a1"), ("human", "q2"), ("gpt", "a2")))[0],
        read("openai", {"messages": openai("q1", "a1", "q2", "a2"), "system": "S"})[0],
    ]  # fmt: skip
    shown = [(turns(found), found.system) for found in conversations if found is not None]
    assert shown[0] == shown[1] == shown[2]


def test_a_record_that_has_not_passed_the_schema_is_refused_without_a_crash() -> None:
    for format_id in FORMATS:
        for record in ({}, {"messages": 5}, {"conversations": [5]}, {"history": 5, "output": "a", "text": None}):
            found, rules = read(format_id, dict(record))
            assert found is not None or rules


def test_renamed_columns_and_tags_are_honoured() -> None:
    fields = replace(
        FORMATS["sharegpt"].default_fields,
        messages="dialog",
        role_tag="who",
        content_tag="says",
        user_tag="c",
        assistant_tag="b",
    )
    found, _ = read("sharegpt", {"dialog": [{"who": "c", "says": "q"}, {"who": "b", "says": "a"}]}, fields=fields)
    assert turns(found) == [("user", "q"), ("assistant", "a")]
    assert found is not None
    assert found.messages[0].at == "/dialog/0"
