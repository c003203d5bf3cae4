"""What only the whole set shows, whatever way it was cut into chunks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.rules import Policy
from stages.core.findings import Finding
from stages.formats.table import FORMATS
from stages.validate.dataset_rules import SetView, set_findings
from stages.validate.dataset_state import SetState
from tests.support.dataset_states import qa, state_of


def view(state: SetState, format_id: str = "alpaca", split: str = "train", declared: bool = False) -> SetView:
    return SetView("x", format_id, FORMATS[format_id].default_fields, state, split, declared)


def said(*views: SetView) -> list[tuple[str, str, int]]:
    return [(found.rule, found.path, found.line) for found in set_findings(views, Policy()).findings]


def test_a_copy_in_one_file_names_the_line_of_the_first() -> None:
    (found,) = set_findings([view(state_of([qa(1), qa(2), qa(1)]))], Policy()).findings
    assert (found.rule, found.line, found.record) == ("set.duplicate", 3, 2)
    assert "line 1" in found.message


def test_a_copy_in_another_file_and_in_another_split() -> None:
    first, second = state_of([qa(1), qa(2)]), state_of([qa(3), qa(2)], path="b.jsonl")
    assert said(view(first), view(second)) == [("set.duplicate-across", "b.jsonl", 2)]
    assert said(view(first), view(second, split="validation")) == [("set.split-leak", "b.jsonl", 2)]


def test_counts_are_exact_when_findings_are_capped() -> None:
    found = set_findings([view(state_of([qa(1)] * 500))], Policy())
    assert found.counts["set.duplicate", "warning"] == 499
    assert len(found.findings) == 100


@given(st.lists(st.integers(0, 6), max_size=30), st.lists(st.integers(1, 10), max_size=5))
def test_chunks_do_not_change_what_is_said(numbers: list[int], sizes: list[int]) -> None:
    records = [qa(number) if number else {"question": "x"} for number in numbers]
    whole = state_of(records)
    merged = SetState("a.jsonl", "alpaca")
    at = 0
    for size in [*sizes, len(records)]:
        part = state_of(records[at : at + size], first=at)
        merged.merge(SetState.from_dict(json.loads(json.dumps(part.as_dict()))))
        at += size
    assert said(view(merged)) == said(view(whole))
    assert list(merged.hashes()) == list(whole.hashes())
    assert (merged.read, merged.kept) == (whole.read, whole.kept)


def test_a_wrong_map_is_called_a_wrong_map_with_the_keys_and_a_guess() -> None:
    records: list[dict[str, object]] = [{"question": f"q{number}", "answer": "a"} for number in range(5)]
    found = set_findings([view(state_of(records))], Policy()).findings
    wrong = next(item for item in found if item.rule == "mapping.empty-field")
    assert "mapping" in wrong.message
    assert "question, answer" in wrong.message
    assert '"prompt": "question", "response": "answer"' in wrong.hint


def test_one_bad_record_is_no_wrong_map() -> None:
    assert said(view(state_of([qa(1), {"instruction": "x"}]))) == []
    assert said(view(state_of([{"instruction": "x"}]))) == []


@pytest.mark.parametrize(("declared", "count"), [(True, 5), (False, 0)])
def test_an_absent_key_is_reported_only_when_the_user_named_it(declared: bool, count: int) -> None:
    found = said(view(state_of([qa(1), qa(2)]), declared=declared))
    assert [rule for rule, _, _ in found].count("mapping.absent-field") == count + declared


def test_a_record_of_another_family_is_named() -> None:
    chat: dict[str, object] = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}
    records = [*map(qa, range(50)), chat, qa(60)]
    assert said(view(state_of(records))) == [("set.mixed-formats", "a.jsonl", 51)]
    assert [rule for rule, _, _ in said(view(state_of([chat, chat])))] == ["set.wrong-format"]


def test_labels_of_one_class() -> None:
    records: list[dict[str, object]] = [{**qa(number), "kto_tag": True} for number in range(4)]
    assert [rule for rule, _, _ in said(view(state_of(records, "alpaca-kto"), "alpaca-kto"))] == ["kto.one-class"]
    records[0]["kto_tag"] = False
    assert said(view(state_of(records, "alpaca-kto"), "alpaca-kto")) == []


def test_findings_are_plain() -> None:
    found = set_findings([view(state_of([qa(1), qa(1)]))], Policy()).findings
    assert all(isinstance(item, Finding) for item in found)
