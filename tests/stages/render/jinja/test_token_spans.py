"""From spans of characters to runs of tokens: the ids are those of the whole text, and each token has one side."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from stages.render.jinja.chat_template import AutoTemplate
from stages.render.jinja.token_spans import RenderedText, bos_note, encode_auto

TOKENIZER = Tokenizer.from_file(str(Path(__file__).parents[4] / "fixtures" / "tiny" / "tokenizer.json"))
TEXTS = st.lists(st.sampled_from([" hello", "a", "é", "😀", "\n", "<|im_end|>", "the", "  "]), max_size=12).map("".join)


def disjoint(text: str, cuts: list[int]) -> RenderedText:
    """A text with spans between every other pair of the cuts."""
    places = sorted({min(cut, len(text)) for cut in cuts})
    return RenderedText(text, tuple(zip(places[::2], places[1::2], strict=False)))


@given(TEXTS, st.lists(st.integers(0, 60), max_size=6))
def test_a_token_is_trained_exactly_when_it_starts_in_a_span(text: str, cuts: list[int]) -> None:
    item = disjoint(text, cuts)
    (encoded,) = encode_auto([item], TOKENIZER)
    whole = TOKENIZER.encode(text, add_special_tokens=False)
    assert encoded.ids == whole.ids
    trained = {token for start, end in encoded.runs for token in range(start, end)}
    for token, (start, _) in enumerate(whole.offsets):
        assert (token in trained) == any(low <= start < high for low, high in item.spans)
    assert all(start < end for start, end in encoded.runs)


def test_a_token_over_the_edge_of_a_span_is_counted() -> None:
    text = "<|im_end|>"
    assert len(TOKENIZER.encode(text, add_special_tokens=False).ids) == 1
    whole, inside = encode_auto([RenderedText(text, ((0, 10),)), RenderedText(text, ((4, 10),))], TOKENIZER)
    assert (whole.runs, whole.border_tokens) == ([(0, 1)], 0)
    assert (inside.runs, inside.border_tokens) == ([], 1)


def test_without_a_span_nothing_is_trained_and_nothing_is_special() -> None:
    (plain,) = encode_auto([RenderedText("hello", ())], TOKENIZER)
    assert (plain.runs, plain.border_tokens) == ([], 0)
    assert plain.ids == TOKENIZER.encode("hello", add_special_tokens=False).ids


def test_a_batch_gives_what_each_text_gives_alone() -> None:
    items = [RenderedText("hello <|im_end|> a", ((6, 16),)), RenderedText("", ()), RenderedText("é\n😀", ((0, 3),))]
    assert encode_auto(items, TOKENIZER) == [encode_auto([item], TOKENIZER)[0] for item in items]


@pytest.mark.parametrize(
    ("text", "bos", "adds_bos", "rule"),
    [
        ("<s><s>x", "<s>", False, "template.double-bos"),
        ("<s><s>x", "<s>", True, "template.double-bos"),
        ("<s>x", "<s>", True, None),
        ("x", "<s>", True, "template.missing-bos"),
        ("x<s>", "<s>", True, "template.missing-bos"),
        ("x", "<s>", False, None),
        ("", "", True, None),
    ],
)
def test_bos_twice_or_missing_is_a_finding(text: str, bos: str, adds_bos: bool, rule: str | None) -> None:
    note = bos_note(text, AutoTemplate({}, {}, bos=bos, adds_bos=adds_bos))
    assert (note and note.rule) == rule
