"""Results: which characters are trained, and when there is a reason instead."""

from __future__ import annotations

import pytest

from stages.core.conversation import Conversation, Message
from stages.core.findings import Note
from stages.render.jinja.chat_template import AutoTemplate
from stages.render.jinja.loss_spans import Located, Turn
from stages.render.jinja.messages import Prepared
from stages.render.jinja.probe import Traits
from stages.render.jinja.probe_texts import Ending
from stages.render.jinja.results import Results, pair, refusal
from stages.render.jinja.sandbox.requests import Outcome
from stages.render.jinja.token_spans import RenderedText

TEMPLATE = AutoTemplate({"default": "{{ messages }}"}, {})
TRAITS = Traits(inner=Ending("e"), last=Ending("e"))
TEXT = "xxxexxxxxexx"  # both answers end with the stop
RECORD = Conversation(
    (Message("user", "q"), Message("assistant", "a"), Message("user", "r"), Message("assistant", "b"))
)
READY = Prepared([], None, [], False)
FOUND = Located([Turn(3, 8, 10), Turn(1, 2, 4)], [Turn(0, 0, 1)], [], [], [])


@pytest.mark.parametrize(
    ("results", "spans"),
    [
        (Results(TEMPLATE, False, False), ((2, 4), (8, 10))),
        (Results(TEMPLATE, False, True), ((8, 10),)),
        (Results(TEMPLATE, True, False), ((0, 12),)),
    ],
)
def test_what_is_trained(results: Results, spans: tuple[tuple[int, int], ...]) -> None:
    """Every answer, the last one, or all of the text."""
    assert results.finish(RECORD, READY, TEXT, FOUND, TRAITS) == RenderedText(TEXT, spans)


def test_answers_that_overlap_prove_nothing() -> None:
    """Two answers cannot be the same characters."""
    found = FOUND._replace(answers=[Turn(1, 2, 6), Turn(3, 5, 8)])
    result = Results(TEMPLATE, False, False).finish(RECORD, READY, TEXT, found, TRAITS)
    assert isinstance(result, Note)
    assert result.rule == "template.not-prefix-stable"


def test_an_answer_without_a_stop_is_stated() -> None:
    """The text stands, with a note on an inner answer and one on the last."""
    result = Results(TEMPLATE, False, False).finish(RECORD, READY, "x" * 12, FOUND, Traits())
    assert isinstance(result, RenderedText)
    assert [note.rule for note in result.notes] == ["template.no-stop", "template.no-stop"]


def test_a_pair_needs_one_prompt() -> None:
    """Equal up to where the answers begin, or a note; a side that is a note is the result."""
    good, other = RenderedText("qa", ((1, 2),)), RenderedText("qb", ((1, 2),))
    assert pair(good, other, RECORD) == (good, other)
    assert isinstance(pair(good, RenderedText("rb", ((1, 2),)), RECORD), Note)
    note = Note("template.refuses", "", "no")
    assert pair(note, good, RECORD) is pair(good, note, RECORD) is note


@pytest.mark.parametrize(
    ("error", "rule"),
    [("refused", "template.refuses"), ("broken", "template.refuses"), ("limit", "template.limit"),
     ("unsafe", "template.unsafe"), ("syntax", "template.unsafe")],
)  # fmt: skip
def test_a_refusal_names_its_rule(error: str, rule: str) -> None:
    """The template's own words are shown."""
    note = refusal(Outcome("", None, error, "only users"))
    assert note.rule == rule
    assert "only users" in note.message
