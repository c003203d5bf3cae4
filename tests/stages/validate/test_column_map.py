"""A column map that cannot work is reported with what is missing from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.datasets.types import Fields
from stages.core.findings import Note
from stages.formats.table import FORMATS
from stages.validate.column_map import mapped_keys, mapping_problems, unmapped_notes


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_default_maps_work(name: str) -> None:
    assert mapping_problems(name, FORMATS[name].default_fields, FORMATS[name].kind) == []


@pytest.mark.parametrize(
    ("name", "fields", "kind", "words"),
    [
        ("alpaca", Fields(prompt="q"), "sft", ["columns", "response"]),
        ("alpaca-dpo", Fields(prompt="q", chosen="c"), "pref", ["columns", "rejected"]),
        ("alpaca-kto", Fields(prompt="q", response="a"), "kto", ["columns", "kto_tag"]),
        ("sharegpt", Fields(messages="m", role_tag="r", content_tag="c"), "sft", ["tags", "user_tag", "assistant_tag"]),
        ("pretrain", Fields(), "pt", ["columns", "prompt"]),
    ],
)
def test_what_is_missing_is_named(name: str, fields: Fields, kind: str, words: list[str]) -> None:
    (note,) = mapping_problems(name, fields, kind)
    assert note.rule == "mapping.incomplete"
    assert all(word in note.message for word in words)


def test_predict_data_need_no_answer() -> None:
    assert mapping_problems("alpaca", Fields(prompt="q"), "predict") == []


def test_a_missing_prompt_is_left_to_what_the_records_show() -> None:
    assert mapping_problems("alpaca", Fields(response="a"), "sft") == []


def test_words_of_tags_are_no_keys_of_records() -> None:
    fields = replace(FORMATS["sharegpt-kto"].default_fields, tools=None)
    assert mapped_keys(fields) == {"conversations", "system", "images", "videos", "audios", "label"}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("rejected_messages", [{"role": "user", "content": "Why?"}], "messages"),
        ("other", [{"from": "gpt", "value": "So."}], "messages"),
        ("functions", [{"name": "f", "parameters": {}}], "tool definitions"),
    ],
)
def test_messages_and_tools_that_nothing_reads_are_named(key: str, value: object, words: str) -> None:
    notes: list[Note] = []
    unmapped_notes({"messages": [], key: value}, frozenset({"messages"}), notes)
    assert [note.rule for note in notes] == ["shape.unmapped-text"]
    assert f"holds {words}" in notes[0].message and notes[0].pointer == f"/{key}"
