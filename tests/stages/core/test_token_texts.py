"""What a tokenizer turns into a control token, and how it looks for it."""

from __future__ import annotations

from typing import Any

import pytest

from stages.core.token_texts import TokenTexts, longest_first, token_texts, unsplit

NFC = {"type": "NFC"}


def token(content: str, **flags: bool) -> dict[str, Any]:
    return {"content": content, "special": False, "normalized": False, "single_word": False} | flags


def test_added_tokens_count_whether_they_are_flagged_special_or_not() -> None:
    texts = token_texts([token("<s>", special=True), token("<tool_call>")], NFC)
    assert texts == TokenTexts(anywhere=("<tool_call>", "<s>"))


@pytest.mark.parametrize("content", ["\n\n", "   ", "▁zwölf", "zwölf", "new_word", "42"])
def test_white_space_and_words_are_no_control_tokens(content: str) -> None:
    assert not token_texts([token(content)], None)


def test_the_sign_that_a_vocabulary_writes_for_a_blank_is_no_blank_in_a_text() -> None:
    assert token_texts([token("▁▁")], None).anywhere == ("▁▁",)


def test_a_word_that_is_flagged_special_is_one() -> None:
    assert token_texts([token("sop", special=True)], None).anywhere == ("sop",)


def test_how_a_token_is_found_is_the_tokenizers_to_say() -> None:
    added = [token("<a>"), token("<b>", single_word=True), token("<c>", normalized=True)]
    assert token_texts(added, {"type": "Lowercase"}) == TokenTexts(("<a>",), ("<b>",), ("<c>",), '{"type":"Lowercase"}')


@pytest.mark.parametrize("normalizer", [None, {"type": "Sequence", "normalizers": []}])
def test_without_a_normalizer_every_token_is_found_as_it_is(normalizer: object) -> None:
    assert token_texts([token("<c>", normalized=True)], normalizer) == TokenTexts(("<c>",))


def test_the_longer_of_two_that_begin_alike_comes_first() -> None:
    assert longest_first(["<a", "<a>", "<a", "b"]) == ("<a>", "<a", "b")


def test_splitting_leaves_the_marks_of_a_thought_whole_unless_they_are_flagged_special() -> None:
    assert unsplit([token("<think>"), token("<tool_call>"), token("</s>", special=True)]).anywhere == ("<think>",)
    assert not unsplit([token("<think>", special=True)])
