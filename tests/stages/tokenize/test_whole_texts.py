"""Whole texts through a fast tokenizer give the reference's ids, and every token lies in the segment where it
starts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from stages.core.segments import Rendered
from stages.tokenize.backends import FastokensEncoder, GigatokenEncoder, ReferenceEncoder
from stages.tokenize.batch import Encoded, encode
from stages.tokenize.whole_texts import WholeTexts, token_bytes

TEXT = (Path(__file__).parents[3] / "fixtures" / "tiny" / "tokenizer.json").read_text(encoding="utf-8")
REFERENCE = Tokenizer.from_str(TEXT)
ENCODERS = {
    "tokenizers": WholeTexts(ReferenceEncoder(TEXT), TEXT),
    "gigatoken": WholeTexts(GigatokenEncoder(TEXT), TEXT),
    "fastokens": WholeTexts(FastokensEncoder(TEXT), TEXT),
}

nasty = st.sampled_from(["<|im_end|>", "\n", "\n\n", " ", "e\u0301", "é", "汉字", "😀", "</s>", "assistant", "x" * 9])
texts = st.lists(st.one_of(nasty, st.text(st.characters(exclude_categories=("Cs",)), max_size=4)), max_size=5).map(
    "".join
)
examples = st.lists(st.lists(texts, min_size=1, max_size=5), max_size=4)


def rendered(parts: list[list[str]]) -> list[Rendered]:
    return [
        Rendered([[part] for part in segments], [place % 2 for place in range(len(segments))]) for segments in parts
    ]


def slow(parts: list[list[str]], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Ids and half lengths by the definition: a token lies in the half that holds the character where it starts."""
    ids, lengths = [], []
    for segments in parts:
        encoding = tokenizer.encode("".join(segments), add_special_tokens=False)
        ids += encoding.ids
        low = 0
        for part in segments:
            lengths.append(sum(low <= start < low + len(part) for start, _ in encoding.offsets))
            low += len(part)
    return ids, lengths


def check(encoded: Encoded, parts: list[list[str]], tokenizer: Tokenizer) -> None:
    ids, lengths = slow(parts, tokenizer)
    assert encoded.ids.tolist() == ids
    assert encoded.segments.tolist() == lengths
    assert encoded.counts.tolist() == [len(segments) for segments in parts]
    assert encoded.trained.tolist() == [place % 2 for segments in parts for place in range(len(segments))]


@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=80)
@given(parts=examples)
def test_any_texts_are_encoded_whole_and_divided_where_tokens_start(name: str, parts: list[list[str]]) -> None:
    check(ENCODERS[name].examples(rendered(parts)), parts, REFERENCE)


def test_a_normaliser_sends_what_it_changes_to_the_reference_and_nothing_else() -> None:
    raw = json.loads(TEXT)
    raw["normalizer"] = {"type": "NFC"}
    text = json.dumps(raw)
    whole = WholeTexts(GigatokenEncoder(text), text)
    parts = [["plain", "text"], ["e\u0301", "x"], ["é", "汉"]]
    check(whole.examples(rendered(parts)), parts, Tokenizer.from_str(text))
    assert whole.by_reference == 1


def test_lengths_are_known_for_byte_level_vocabularies_only() -> None:
    raw = json.loads(TEXT)
    lengths = token_bytes(raw)
    assert lengths is not None
    for text in ("Hello wörld 汉😀", "<|im_end|>\n"):
        assert int(lengths[REFERENCE.encode(text, add_special_tokens=False).ids].sum()) == len(text.encode())
    assert token_bytes({**raw, "normalizer": {"type": "Lowercase"}}) is None
    assert token_bytes({**raw, "normalizer": {"type": "Sequence", "normalizers": []}}) is not None
    assert token_bytes({**raw, "model": {**raw["model"], "byte_fallback": True}}) is None


def test_a_token_that_takes_in_white_space_around_it_goes_to_the_reference() -> None:
    raw = json.loads(TEXT)
    for token in raw["added_tokens"]:
        token["rstrip"] = token["content"] == "<|im_end|>"
    text = json.dumps(raw)
    whole = WholeTexts(ReferenceEncoder(text), text)
    parts = [["a<|im_end|>", "   b"]]
    check(whole.examples(rendered(parts)), parts, Tokenizer.from_str(text))
    assert whole.by_reference == 1


def test_segments_that_are_ids_already_are_left_as_they_are() -> None:
    ready = [Rendered([[5, 6], [7]], [0, 1])]
    whole = ENCODERS["tokenizers"]
    assert whole.examples(ready).ids.tolist() == encode(ready, whole.encoder).ids.tolist() == [5, 6, 7]


def test_nothing_is_encoded_to_nothing() -> None:
    encoded = ENCODERS["gigatoken"].examples([])
    assert [len(part) for part in encoded] == [0, 0, 0, 0, 0]


ASSETS = os.environ.get("PREP_ASSETS", "")


@pytest.mark.skipif(not ASSETS, reason="PREP_ASSETS names no folder with real tokenizers")
@pytest.mark.parametrize("name", ["qwen3", "llama3_1", "deepseek_v3", "gptoss", "mistral_nemo", "phi3", "gemma3"])
def test_real_tokenizers_divide_real_texts_as_the_reference_does(name: str) -> None:
    folder = Path(ASSETS)
    text = (folder / "tok" / name / "tokenizer.json").read_text(encoding="utf-8")
    parts = []
    with (folder / "data" / "messages.jsonl").open(encoding="utf-8") as lines:
        for line, _ in zip(lines, range(150), strict=False):
            said = [turn.get("content") or "" for turn in json.loads(line)["messages"]]
            parts.append([piece for turn in said for piece in ("<|im_start|>user\n", turn)])
    encoder = GigatokenEncoder(text)
    whole = WholeTexts(encoder, text)
    check(whole.examples(rendered(parts)), parts, Tokenizer.from_str(text))
    if token_bytes(json.loads(text)) is not None:
        assert whole.by_reference <= 3
