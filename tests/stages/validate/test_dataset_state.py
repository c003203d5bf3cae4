"""What is remembered of a data set: in bounded memory, the same however it was cut into chunks and carried."""

from __future__ import annotations

import json

import pytest

from stages.core.conversation import Conversation, Message
from stages.core.findings import Note
from stages.validate.dataset_state import SetState
from tests.support.dataset_states import qa, state_of


def test_a_state_knows_the_place_of_each_kept_record() -> None:
    state = state_of([qa(1), {"x": 1}, qa(2)]).merge(state_of([qa(3)], path="b.jsonl"))
    places = [("a.jsonl", 1, 0), ("a.jsonl", 3, 2), ("b.jsonl", 1, 0)]
    assert list(state.places_of_kept()) == places
    assert [state.place(position)[:3] for position in range(3)] == places
    assert [state.place(position)[3] for position in range(3)] == [0, 200, 0]
    assert state.files == [["a.jsonl", 2], ["b.jsonl", 1]]


def test_a_reused_state_takes_the_path_of_its_file() -> None:
    state = SetState.from_dict(state_of([qa(1)]).as_dict(), "moved.jsonl")
    assert state.place(0)[0] == "moved.jsonl"


def test_a_hostile_file_of_ever_new_keys_keeps_the_memory_small() -> None:
    state = SetState("a.jsonl", "alpaca")
    for number in range(5000):
        state.add(
            {f"key{number}": 1}, [Note("shape.missing-field", f"/{number}", 'the field "output" is missing')], 1, 0
        )
    assert len(state.keys) <= 512
    assert len(state.places) <= 257


def test_a_place_beyond_the_kept_records_is_an_error() -> None:
    with pytest.raises(IndexError):
        state_of([qa(1), {"x": 1}]).place(1)


def test_a_state_survives_json_to_the_last_count() -> None:
    mixed: list[dict[str, object]] = [qa(1), {"question": "q", "answer": "a"}, {"messages": 5}, qa(1)]
    state = state_of([*mixed, {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}])
    carried = json.loads(json.dumps(state.as_dict()))
    assert SetState.from_dict(carried).as_dict() == carried
    assert state.others, "the chat record is remembered as one of another format"


def test_merging_counts_each_part_once() -> None:
    parts: list[list[dict[str, object]]] = [[qa(1), {"x": 1}], [qa(2)], [{"y": 1}, qa(3)]]
    whole = state_of([record for part in parts for record in part])
    merged, first = SetState("a.jsonl", "alpaca"), 0
    for part in parts:
        merged.merge(state_of(part, first=first))
        first += len(part)
    assert merged.as_dict() == whole.as_dict()


def test_answers_of_pairs_are_compared_by_length_and_labels_counted() -> None:
    state = SetState("a.jsonl", "alpaca-dpo")
    question = (Message("user", "q"),)
    for chosen, rejected in (("long", "s"), ("s", "long"), ("same", "same"), ("longer", "x")):
        pair = Conversation(question, chosen=Message("assistant", chosen), rejected=Message("assistant", rejected))
        state.keep(pair, 1, 1, 0)
    for label in (True, False, True):
        state.keep(Conversation(question, label=label), 2, 1, 0)
    assert (state.pairs, state.labels, state.kept) == ([4, 2, 1], [1, 2], 7)
    state.merge(SetState.from_dict(state.as_dict()))
    assert (state.pairs, state.labels, state.kept) == ([8, 4, 2], [2, 4], 14)


def test_records_of_the_fast_path_count_like_any_other() -> None:
    slow, fast = state_of([qa(1), qa(2)]), SetState("a.jsonl", "alpaca")
    fast.passed_fast(2, ("instruction", "input", "output"))
    fast.rows += [(digest, number + 1, number, number * 100) for number, digest in enumerate(slow.hashes())]
    assert fast.as_dict() == slow.as_dict()


def test_a_record_that_is_no_object_is_read_and_nothing_more() -> None:
    state = SetState("a.jsonl", "alpaca")
    state.add([1], [Note("json.not-an-object", "", "a list")], 1, 0)
    assert (state.read, state.kept, list(state.keys)) == (1, 0, [])
