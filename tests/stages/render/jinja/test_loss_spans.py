"""Marks and prefixes prove where an answer stands; what they cannot prove stays open."""

from __future__ import annotations

from stages.core.conversation import Conversation, Message
from stages.render.jinja.loss_spans import Turn, by_marks
from stages.render.jinja.messages import Dialect, Prepared, prepare
from stages.render.jinja.prefix_spans import by_prefix
from stages.render.jinja.probe import Traits
from stages.render.jinja.probe_texts import Ending
from stages.render.jinja.sandbox.requests import Outcome

STOP = Ending("<e>")
TRAITS = Traits(("<a>",), STOP, STOP)
RECORD = Conversation((Message("user", "q"), Message("assistant", " Four. ")))
TEXT = "<u>q<e><a> Four. <e>"


def prepared(record: Conversation = RECORD) -> Prepared:
    ready = prepare(record, Dialect(), "all")
    assert isinstance(ready, Prepared)
    return ready


def marks(text: str, *words: str) -> list[tuple[int, int]]:
    """Marks around the words, as the render process reports them."""
    places = []
    for number, word in enumerate(words):
        start = text.index(word)
        places += [(2 * number, start), (2 * number + 1, start + len(word))]
    return places


def test_the_span_runs_from_the_header_to_the_stop_white_space_included() -> None:
    located = by_marks(RECORD, prepared(), Outcome(TEXT, marks(TEXT, "q", "Four.")), TRAITS)
    assert located is not None
    assert located.answers == [Turn(1, 10, 20)]
    assert TEXT[10:20] == " Four. <e>"
    assert located.given == [Turn(0, 3, 4)]
    assert located.open == []


def test_disagreeing_marks_prove_nothing() -> None:
    assert by_marks(RECORD, prepared(), Outcome(TEXT, None), TRAITS) is None


def test_an_answer_written_twice_proves_nothing() -> None:
    text = TEXT + "Four."
    twice = [*marks(text, "q", "Four."), (2, 20), (3, 25)]
    assert by_marks(RECORD, prepared(), Outcome(text, twice), TRAITS) is None


def test_a_torn_mark_proves_nothing() -> None:
    assert by_marks(RECORD, prepared(), Outcome(TEXT, marks(TEXT, "q", "Four.")[:-1]), TRAITS) is None


def test_answers_out_of_order_prove_nothing() -> None:
    text = "<a> Four. <e><u>q<e>"
    assert by_marks(RECORD, prepared(), Outcome(text, marks(text, "q", "Four.")), TRAITS) is None


def test_without_header_or_stop_the_answer_stays_open() -> None:
    for text in ("<u>q<e> Four. <e>", "<u>q<e><a> Four. ", "<u>q<e><a><e>more Four. <e>"):
        located = by_marks(RECORD, prepared(), Outcome(text, marks(text, "q", "Four.")), TRAITS)
        assert located is not None
        assert (located.answers, located.open) == ([], [1]), text


def test_text_between_an_answer_and_its_stop_leaves_it_open() -> None:
    text = "<u>q<e><a> Four. or so<e>"
    located = by_marks(RECORD, prepared(), Outcome(text, marks(text, "q", "Four.")), TRAITS)
    assert located is not None
    assert located.open == [1]


def test_an_answer_left_out_is_lost_and_a_question_left_out_is_noted() -> None:
    text = "<u>q<e><a><e>"
    lost = by_marks(RECORD, prepared(), Outcome(text, marks(text, "q")), TRAITS)
    assert lost is not None
    assert [note.rule for note in lost.lost] == ["template.changes-answer"]
    text = "<u><e><a> Four. <e>"
    found = by_marks(RECORD, prepared(), Outcome(text, [(2, 10), (3, 15)]), TRAITS)
    assert found is not None
    assert [note.rule for note in found.notes] == ["template.drops-context"]
    assert len(found.answers) == 1


def test_prefixes_prove_an_empty_answer() -> None:
    messages = (Message("user", "q"), Message("assistant", ""), Message("user", "r"))
    text = "<u>q<e><a><e>\n<u>r<e>"
    found = by_prefix(text, messages, 1, (Outcome("<u>q<e><a>"), Outcome("<u>q<e><a><e>\n")), TRAITS)
    assert found == Turn(1, 10, 13)


def test_a_last_stop_that_differs_inside_is_exchanged() -> None:
    traits = Traits(("<a>",), Ending("<e>"), Ending("<z>"))
    messages = (Message("user", "q"), Message("assistant", "x"), Message("user", "r"))
    found = by_prefix("<u>q<e><a>x<e><u>r<e>", messages, 1, (Outcome("<u>q<e><a>"), Outcome("<u>q<e><a>x<z>")), traits)
    assert found == Turn(1, 10, 14)


def test_what_is_no_prefix_is_answered_with_a_reason() -> None:
    messages = RECORD.messages
    good = Outcome("<u>q<e><a>"), Outcome(TEXT)
    assert isinstance(by_prefix(TEXT, messages, 1, good, TRAITS), Turn)
    for bad in (
        (Outcome("", None, "refused", "no"), good[1]),
        (good[0], Outcome("", None, "broken", "no")),
        (Outcome("<u>Q<e><a>"), good[1]),
        (good[0], Outcome("<u>q<e><a> Five. <e>")),
    ):
        assert isinstance(by_prefix(TEXT, messages, 1, bad, TRAITS), str)
    missing = (Message("user", "q"), Message("assistant", "Five."))
    assert isinstance(by_prefix(TEXT, missing, 1, good, TRAITS), str)
