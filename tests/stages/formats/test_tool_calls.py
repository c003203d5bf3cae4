"""Calls written as text: the template's words tell what is a thought, what is a call, what is beside it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.conversation import ToolCall
from stages.core.findings import Note
from stages.formats.tool_calls import USUAL_WORDS, CallWords, read_calls

SEED = CallWords(("<seed:think>", "</seed:think>"), ("<seed:tool_call>", "</seed:tool_call>"))
LFM = CallWords(call=("<|tool_call_start|>", "<|tool_call_end|>"))
BARE = CallWords(("<think>", "</think>"))
CALL = '{"name": "f", "arguments": {"a": 1}}'


def read(text: str, words: CallWords = USUAL_WORDS) -> tuple[str, list[ToolCall], list[str]]:
    notes: list[Note] = []
    found = read_calls(text, "/0", notes, words)
    assert found is not None, notes
    return found[0], list(found[1]), [note.rule for note in notes]


@pytest.mark.parametrize(
    ("text", "words", "beside"),
    [
        (CALL, USUAL_WORDS, ""),
        (f"<think>\nWell.\n</think>\n\n{CALL}", USUAL_WORDS, "<think>\nWell.\n</think>\n\n"),
        (f"<think>\nWell.\n</think>\n\n\n\n{CALL}", USUAL_WORDS, "<think>\nWell.\n</think>\n\n"),
        (f"<think>\nWell.\n</think>\n\n{CALL}", BARE, "<think>\nWell.\n</think>"),
        (f"<think>Well.</think>{CALL}", USUAL_WORDS, "<think>Well.</think>"),
        (f"<seed:think>\nWell.\n</seed:think>\n\n{CALL}", SEED, "<seed:think>\nWell.\n</seed:think>"),
        (f"Let me see. <tool_call>{CALL}</tool_call>", USUAL_WORDS, "Let me see. "),
        (f"Let me see.<|tool_call_start|>{CALL}<|tool_call_end|>", LFM, "Let me see."),
    ],
    ids=["bare", "usual", "white-space-goes", "short-words", "not-the-templates", "own-words", "block", "own-block"],
)
def test_what_stands_beside_the_call(text: str, words: CallWords, beside: str) -> None:
    assert read(text, words)[:2] == (beside, [ToolCall("f", {"a": 1})])


def test_words_of_another_template_are_no_call() -> None:
    notes: list[Note] = []
    assert read_calls(f"<seed:think>x</seed:think>{CALL}", "/0", notes) is None
    assert [note.rule for note in notes] == ["tools.call-not-json"]


@given(st.sampled_from([USUAL_WORDS, SEED, BARE, LFM]), st.text(), st.booleans())
def test_a_thought_inside_the_arguments_stays_there(words: CallWords, text: str, ascii_only: bool) -> None:
    """Whatever words an argument holds, the call is read as it was written."""
    arguments = {"q": f"{words.thought[0]}{text}{words.thought[1]}", text: "<think>\n\n</think>\n\n"}
    call = json.dumps({"name": "f", "arguments": arguments}, ensure_ascii=ascii_only)
    assert read(call, words) == ("", [ToolCall("f", arguments)], [])
