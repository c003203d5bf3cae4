"""Answers that marks cannot show: the conversation up to one has to be a prefix of the whole, or there is a reason."""

from __future__ import annotations

import pytest

from stages.core.conversation import Message
from stages.core.findings import Note
from stages.render.jinja.loss_spans import Turn
from stages.render.jinja.prefix_spans import by_prefix, parted, thought_note
from stages.render.jinja.probe import Traits
from stages.render.jinja.probe_texts import Ending
from stages.render.jinja.sandbox.requests import Outcome

TRAITS = Traits(inner=Ending("<e>"), last=Ending("<e>"))
MESSAGES = (Message("user", "q"), Message("assistant", "a"))


def test_an_answer_stands_behind_its_prompt_and_ends_with_its_stop() -> None:
    found = by_prefix("[q][a]<e>", MESSAGES, 1, (Outcome("[q]"), Outcome("[q][a]<e>")), TRAITS)
    assert isinstance(found, Turn)
    assert (found.start, found.end) == (3, 9)


@pytest.mark.parametrize(
    ("renders", "why"),
    [
        ((Outcome("", None, "refused", "only users"), Outcome("[q][a]<e>")), "only users"),
        ((Outcome("[other]"), Outcome("[q][a]<e>")), "written otherwise"),
    ],
)
def test_what_is_no_prefix_proves_nothing(renders: tuple[Outcome, Outcome], why: str) -> None:
    found = by_prefix("[q][a]<e>", MESSAGES, 1, renders, TRAITS)
    assert isinstance(found, str)
    assert why in found


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (Message("assistant", "four", reasoning="two and two"), ("two and two", "four")),
        (Message("assistant", "<think>two and two</think>\n\nfour"), ("two and two", "four")),
        (Message("assistant", "two and two</think>four"), ("two and two", "four")),
        (Message("assistant", "four"), ("", "four")),
    ],
)
def test_a_thought_is_told_from_its_answer_however_it_is_written(message: Message, parts: tuple[str, str]) -> None:
    assert parted(message) == parts


def test_a_thought_that_the_template_drops_is_named() -> None:
    message = Message("assistant", "four", at="/messages/1", reasoning="two and two")
    note = thought_note(message, "four<e>")
    assert isinstance(note, Note)
    assert (note.rule, note.pointer) == ("template.thought-dropped", "/messages/1")
    assert thought_note(message, "two and two: four<e>") is None
