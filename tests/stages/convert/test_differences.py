"""What is lost on the way through another format is named once, at its place, and only what differs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.convert.differences import MISSING, differences, record_losses
from stages.core.findings import Note
from stages.formats.losses import Loss, loss
from stages.formats.table import FORMATS

JSON = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b/", "~"]), inner, max_size=3),
    max_leaves=6,
)


def at(document: Any, place: str) -> Any:
    """The value at a pointer, MISSING where there is none."""
    for part in place.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            document = document[int(key)] if isinstance(document, list) else document[key]
        except (LookupError, TypeError):
            return MISSING
    return document


@settings(max_examples=50)
@given(JSON, JSON)
def test_a_difference_names_the_place_in_both_documents(old: Any, new: Any) -> None:
    found = list(differences(old, new, ""))
    assert bool(found) == (old != new)
    for place, first, second in found:
        assert (at(old, place), at(new, place)) == (first, second)


def test_a_value_that_is_gone_is_no_null() -> None:
    assert list(differences({"a": None}, {}, "/x")) == [("/x/a", None, MISSING)]
    assert list(differences([1], [1, None], "")) == [("/1", MISSING, None)]


def lost(format_id: str, record: dict[str, Any], again: dict[str, Any], *stated: Loss) -> list[tuple[str, str]]:
    form = FORMATS[format_id]
    reader = form.read(form.default_fields, form.kind)
    notes: list[Note] = []
    read = reader(copy.deepcopy(record), notes)
    assert read is not None, notes
    return [(item.pointer, item.what) for item in record_losses(record, again, read, reader, list(stated))]


def chat(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": ("human", "gpt")[at % 2], **turn} for at, turn in enumerate(turns)], **more}


@pytest.mark.parametrize(
    ("again", "what"),
    [
        ({"instruction": "q\nmore", "input": "", "output": "a"}, ("/input", "prompt-split")),
        ({"instruction": "q", "input": "more", "output": "a", "system": ""}, ("/system", "empty-field")),
        ({"instruction": "q", "input": "more", "output": "b"}, ("/output", "other")),
    ],
)
def test_a_difference_of_an_alpaca_record_is_of_its_kind(again: dict[str, Any], what: tuple[str, str]) -> None:
    assert lost("alpaca", {"instruction": "q", "input": "more", "output": "a"}, again) == [what]


@pytest.mark.parametrize(
    ("turn", "what"),
    [
        ({"value": "a", "weight": 0}, ("/conversations/1/weight", "weight")),
        ({"value": "a", "name": "Ann"}, ("/conversations/1/name", "name")),
        ({"value": "a", "mood": "x"}, ("/conversations/1/mood", "message-key")),
        ({"value": "a", "name": None}, ("/conversations/1/name", "empty-field")),
    ],
)
def test_a_key_beside_a_turn_is_named_with_what_is_lost_with_it(turn: dict[str, Any], what: tuple[str, str]) -> None:
    assert lost("sharegpt", chat({"value": "q"}, turn), chat({"value": "q"}, {"value": "a"})) == [what]


def test_a_system_message_that_moves_is_one_loss_and_no_turn_differs() -> None:
    turns = chat({"value": "q"}, {"value": "a"})["conversations"]
    led = {"conversations": [{"from": "system", "value": "S"}, *turns]}
    assert lost("sharegpt", led, {"conversations": turns, "system": "S"}) == [
        ("/conversations/0/value", "system-place")
    ]


def test_a_stated_loss_covers_what_lies_below_it() -> None:
    record, again = chat({"value": "q"}, {"value": "a", "weight": 0}), chat({"value": "q"}, {"value": "a"})
    assert lost("sharegpt", record, again, loss("turns", "/conversations/1")) == []
    for place in ("/conversations/10", "/conversations/1/weigh"):
        assert lost("sharegpt", record, again, loss("turns", place)) != []


def test_turns_that_are_gone_are_one_loss_of_the_whole_list() -> None:
    record = chat({"value": "q"}, {"value": "a"}, {"value": "q"}, {"value": "a"})
    assert lost("sharegpt", record, chat({"value": "q"}, {"value": "a"})) == [("/conversations", "turns")]


def test_a_record_that_comes_back_the_same_has_lost_nothing() -> None:
    record = chat({"value": "q", "weight": None}, {"value": "a", "x": [1]}, system="S", id=7)
    assert lost("sharegpt", record, copy.deepcopy(record)) == []
