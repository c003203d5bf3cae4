"""The text for people: places, messages and hints within 80 columns, the worst first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reports import reporter
from pipeline.reports.text import COLUMNS, place, worst_first, wrapped, write
from registry.rules import rules
from stages.core.display import cells, clean
from tests.support.reports import finding, report


def test_text_names_place_message_rule_and_hint_within_80_columns() -> None:
    text = reporter("text")(report(finding(), finding("prompt.empty", "warning", 3, value="")))
    assert "data/train set.jsonl:812 /messages/3/role" in text
    assert 'did you mean "assistant"?' in text
    assert rules()["role.unknown"].hint[:30] in text
    assert "1,000 records read, 988 kept, 12 rejected (1.2%)" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_text_puts_the_worst_first() -> None:
    counts = {("prompt.empty", "warning"): 900, ("answer.empty", "error"): 2, ("role.unknown", "error"): 40}
    text = reporter("text")(report(finding(), counts=counts))
    order = [text.index(f"  {rule}  ") for rule in ("role.unknown", "answer.empty", "prompt.empty")]
    assert order == sorted(order)


def test_text_has_colour_only_when_requested() -> None:
    assert "\x1b[" in write(report(finding()), color=True)


def test_a_place_names_no_line_that_is_not_known() -> None:
    assert place(finding(line=812)) == "data/train set.jsonl:812"
    assert place(finding(line=-1, record=4)) == "data/train set.jsonl record 4"
    assert place(finding(line=-1, record=-1)) == "data/train set.jsonl"


def test_only_the_first_findings_of_a_rule_are_shown_and_the_rest_counted() -> None:
    text = write(report(*(finding(line=line) for line in range(1, 9))), cap=2)
    assert ("train set.jsonl:2 " in text, "train set.jsonl:3 " in text) == (True, False)
    assert "... 6 more" in text


def test_errors_come_before_warnings_however_many_they_are() -> None:
    counts = {("prompt.empty", "warning"): 900, ("answer.empty", "error"): 2, ("role.unknown", "error"): 2}
    assert worst_first(report(counts=counts)) == ["answer.empty", "role.unknown", "prompt.empty"]


@pytest.mark.parametrize("rule", ["no.such-rule", "role.unknown"])
def test_a_word_that_is_too_long_for_a_line_stays_whole(rule: str) -> None:
    """A path that is cut could not be opened by clicking on it."""
    path = "folder/" * 30
    text = write(report(finding(rule, path=path, message=f"see {path} and correct it")))
    assert text.count(path) == 2


def test_chinese_values_break_at_80_columns() -> None:
    lines = wrapped("value: " + "\u6253\u5f00\u5ba2\u5385\u7684\u706f" * 20, "      ")
    assert len(lines) > 2
    assert max(map(cells, lines)) <= COLUMNS
    assert all(line.startswith("      ") for line in lines)
    assert "".join(line.strip() for line in lines) == "value: " + "\u6253\u5f00\u5ba2\u5385\u7684\u706f" * 20


def test_a_long_path_stays_whole() -> None:
    path = "/data/" + "caf\u00e9" * 30
    assert path in wrapped(f"value: {path} more", "  ")[1]


@given(st.text(max_size=200))
def test_no_character_is_lost(text: str) -> None:
    shown = "".join("".join(wrapped(text, "  ")).split())
    assert shown == "".join(clean(text).split())


def test_the_advice_for_a_set_takes_the_place_of_the_general_one() -> None:
    """Both would contradict each other: name the right key, and no map can."""
    own = "a tree of messages: no map can"
    text = write(report(finding("mapping.empty-field", hint=own)))
    assert f"hint: {own}" in text and text.count(own) == 1
    assert rules()["mapping.empty-field"].hint[:30] not in text
    both = " ".join(write(report(finding("role.unknown", hint=own))).split())
    assert own in both and rules()["role.unknown"].hint[:30] in both
