"""Rows on a terminal: nothing overflows, nothing acts, and what is masked can be told without colour."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspect.row_text import STOP_TRAINED, Look, cells, drawn, legend, view_lines
from pipeline.inspect.row_view import Example, Stretch, View
from stages.tokenize.decode import TokenTexts
from stages.tokenize.tokenizer_files import load_tokenizer_files
from tests.support.packed_outputs import TINY

TEXTS = TokenTexts(load_tokenizer_files(str(TINY)))


def one(stretch: Stretch) -> View:
    about = {"example": 0, "file": "a.jsonl", "line": 1, "start": 0, "tokens": len(stretch.ids), "trained_tokens": 1}
    example = Example(about | {"tokens_lost": 0, "offset": 0}, [stretch])
    return View("train", 0, "train/data.arrow", 0, len(stretch.ids), 1, 1, None, [example], frozenset({5}))


def test_long_turns_keep_their_ends() -> None:
    """Of a long turn the beginning and the end are shown, and --full shows all; the end mark is always there."""
    ids = [*([300] * 1000), 5]
    view = one(Stretch(0, "answer", True, 0, ["word "] * 1000 + ["<|im_end|>"], ids, ids))
    short, full = ("\n".join(view_lines(view, TEXTS, Look(full=full))) for full in (False, True))
    assert "more tokens (--full)" in short
    assert f"<|im_end|>{STOP_TRAINED}" in short
    assert full.count("word") == 1000


def test_a_label_that_is_another_token_is_shown() -> None:
    """Some templates teach the end mark in the place of the next prompt's first token; that is not hidden."""
    view = one(Stretch(0, "prompt", True, 0, ["a"], [300], [5]))
    assert "a→<|im_end|>" in "\n".join(view_lines(view, TEXTS, Look()))


@given(st.lists(st.text(max_size=12), max_size=30), st.integers(60, 100))
def test_no_text_overflows_a_line(texts: list[str], width: int) -> None:
    """Whatever the tokens hold, lines keep to the width, and nothing but printable characters leaves."""
    ids = [300] * len(texts)
    lines = list(
        view_lines(one(Stretch(0, "prompt", False, 0, texts, ids, [-100] * len(ids))), TEXTS, Look(width=width))
    )
    for line in [*lines, *legend(Look(width=width))[:0]]:
        assert cells(line) <= width
        assert not [char for char in line if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]


@given(st.text(max_size=40))
def test_a_drawn_text_can_do_nothing_to_a_terminal(text: str) -> None:
    """No control character is left, and a tab is one mark."""
    shown = drawn(text.replace("\n", ""))
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
    assert shown.count("⇥") == text.count("\t") + text.count("⇥")


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("你好", 4), ("e\u0301", 1), ("", 0)])
def test_columns_are_those_of_a_terminal(text: str, columns: int) -> None:
    """Wide letters take two, marks above a letter none."""
    assert cells(text) == columns


def test_masks_are_told_without_colour() -> None:
    """A full bar is trained, a thin one is masked; the legend says so, and fits 80 columns."""
    for trained, bar in ((True, "█"), (False, "│")):
        (line,) = list(view_lines(one(Stretch(0, "answer", trained, 0, ["a"], [300], [300])), TEXTS, Look()))[-1:]
        assert f" {bar} a" in line and "\x1b" not in line
    assert max(cells(line) for line in legend(Look())) <= 80


def test_an_empty_text_gets_no_colour_codes() -> None:
    assert Look(colour=True).paint("", "32") == ""
    assert Look(colour=True).paint("a", "32") == "\x1b[32ma\x1b[0m"
