"""Control tokens are found whatever they are made of, where the tokenizer would find them, and only there."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from stages.core.findings import Note
from stages.core.token_texts import TokenTexts, longest_first, token_texts
from stages.formats.tool_calls import USUAL_WORDS, CallWords
from stages.validate.places import Placed
from stages.validate.token_search import TokenNotes, TokenSearch, marks_test

ODD = ("<|im_end|>", "</s>", "[INST]", "a.b*", "▁<PRE>", "<|fim|>\n", "#-&~")


def notes_of(*placed: Placed, texts: TokenTexts, words: CallWords = USUAL_WORDS) -> list[Note]:
    notes: list[Note] = []
    TokenNotes(texts, words).add(placed, notes)
    return notes


def test_tokens_are_found_whatever_they_are_made_of() -> None:
    search, marks = TokenSearch(TokenTexts(longest_first(ODD))), marks_test(ODD)
    for word in ODD:
        assert marks(f"x{word}y")
        found = search.find(f"x{word}y")
        assert found is not None
        assert found[0] == word
    assert not marks("a-b axb* <im_end> [INST ]")


def test_without_tokens_nothing_is_found() -> None:
    assert TokenSearch(TokenTexts()).find("<|im_end|>") is None
    assert not marks_test(())("<|im_end|>")


def test_thousands_that_differ_in_a_number_are_told_apart() -> None:
    words = [f"<unused{number}>" for number in range(7000)]
    search = TokenSearch(TokenTexts(longest_first(words)))
    assert marks_test(words)("a <unused6999> b")
    assert search.find("a <unused7000> <unused007>") is None
    found = search.find("a <unused7000> <unused12>")
    assert found is not None
    assert found[0] == "<unused12>"


@pytest.mark.parametrize("count", [1, 59, 61, 130, 400])
def test_however_many_there_are_the_quick_test_misses_none(count: int) -> None:
    words = [f"<{chr(97 + number % 26) * (1 + number // 26)}>" for number in range(count)]
    marks = marks_test([*words, "▁▁", "▁▁▁"])
    assert [word for word in (*words, "▁▁", "▁▁▁▁") if not marks(f"a {word} b")] == []
    assert not marks("a <> b▁c <a")


pieces = st.lists(st.sampled_from(["<u", "1", "23", ">", "<", "u", "x", "1>"]), min_size=1, max_size=4).map("".join)


@given(st.lists(pieces, min_size=1, max_size=4, unique=True), st.lists(pieces, max_size=4).map("".join))
def test_a_token_is_found_where_the_text_holds_one(words: list[str], text: str) -> None:
    found = TokenSearch(TokenTexts(longest_first(words))).find(text)
    assert (found is not None) == any(word in text for word in words)
    assert found is None or found[0] in words
    assert found is None or marks_test(words)(text), "the quick test misses nothing"


@given(st.lists(st.sampled_from(["<Sep>", "<sep>", "[W]", "a", " ", "_", "é", "<TAG>", "<tag>"]), max_size=6))
def test_whole_words_and_normalized_tokens_are_found_where_the_library_finds_them(parts: list[str]) -> None:
    text = "".join(parts)
    lower = tokenizers.normalizers.Lowercase()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.normalizer = lower
    added = [
        {"content": "<Sep>", "normalized": False, "single_word": False},
        {"content": "[W]", "normalized": False, "single_word": True},
        {"content": "<Tag>", "normalized": True, "single_word": False},
    ]
    tokenizer.add_tokens([tokenizers.AddedToken(**token) for token in added])
    texts = token_texts(added, {"type": "Lowercase"})
    is_found = any(tokenizer.encode(text, add_special_tokens=False).ids)  # 0 is no added token
    assert (TokenSearch(texts).find(text) is not None) == is_found
    assert marks_test(texts)(text) or not is_found


def test_a_note_names_token_and_place_once() -> None:
    texts = TokenTexts(("</s>",))
    placed = Placed("fine", "/a"), Placed("bad </s>", "/b"), Placed("</s>", "/b")
    assert [(note.rule, note.pointer) for note in notes_of(*placed, texts=texts)] == [("text.special-token", "/b")]


def test_thoughts_are_an_answers_to_write_and_nobody_elses() -> None:
    texts = TokenTexts(("<think>", "</think>"))
    thought = "<think>\nhm\n</think>\n\nTwo."
    assert notes_of(Placed(thought, "/output", answer=True), texts=texts) == []
    assert [note.pointer for note in notes_of(Placed(thought, "/input"), texts=texts)] == ["/input"]


def test_the_templates_own_words_around_a_thought_count_in_pairs() -> None:
    texts = TokenTexts(("<|channel|>", "<|message|>", "<|end|>"))
    words = CallWords(thought=("<|channel|>analysis<|message|>", "<|end|>"))
    whole = "<|channel|>analysis<|message|>hm<|end|>Two."
    assert notes_of(Placed(whole, "/output", answer=True), texts=texts, words=words) == []
    half = whole.replace("<|end|>", "")
    assert len(notes_of(Placed(half, "/output", answer=True), texts=texts, words=words)) == 1
    inside = whole.replace("hm", "<|end|")  # what is left of a token does not close up to a new one
    assert notes_of(Placed(inside, "/output", answer=True), texts=texts, words=words) == []


def test_a_call_in_an_answers_text_has_a_hint_of_its_own() -> None:
    texts = TokenTexts(("<tool_call>", "</s>"))
    call, end, asked = notes_of(
        Placed('<tool_call>{"name": "f"}</tool_call>', "/a", answer=True),
        Placed("</s>", "/b", answer=True),
        Placed("<tool_call>", "/c"),
        texts=texts,
    )
    assert "tool_calls" in call.hint
    assert (end.hint, asked.hint) == ("", "")
