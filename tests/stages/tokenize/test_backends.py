"""Whichever back end encodes, the ids are those of `tokenizers`; where one differs, the reference takes over."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UsageFault
from registry.templates import load_template
from stages.tokenize.backends import (
    BACK_ENDS,
    MEDIUM_BYTES,
    NASTY,
    SMALL_BYTES,
    Encoder,
    choose,
    differences,
    family,
    load_encoder,
)
from stages.tokenize.fitted import fit
from stages.tokenize.tokenizer_files import load_tokenizer_files

TINY = str(Path(__file__).parents[3] / "fixtures" / "tiny")
JSON = fit(load_tokenizer_files(TINY), load_template("qwen")).json_text
FAST = ("fastokens", "gigatoken")
BYTE_LEVEL: dict[str, Any] = {
    "model": {"type": "BPE", "merges": [], "vocab": {}},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split"}, {"type": "ByteLevel"}]},
}
SENTENCEPIECE: dict[str, Any] = {"model": {"type": "BPE", "merges": [], "byte_fallback": True}, "pre_tokenizer": None}
WORDS: dict[str, Any] = {"model": {"type": "WordPiece", "vocab": {}}}


def encoders(*, split: bool = False) -> dict[str, Encoder]:
    names = ("tokenizers", "fastokens") if split else tuple(BACK_ENDS)
    return {name: load_encoder(name, JSON, split_special_tokens=split) for name in names}


ENCODERS = encoders()
SPLITTING = encoders(split=True)
texts = st.lists(
    st.text(max_size=40)
    | st.sampled_from(NASTY)
    | st.lists(st.sampled_from(["<|im_start|>", "<|im_end|>", "<think>", "user", "\n", " ", "a", "你好"])).map("".join),
    max_size=6,
)


def lists(encoder: Encoder, some: Sequence[str]) -> list[list[int]]:
    ids, offsets = encoder.encode(some)
    assert ids.dtype == np.int32
    assert offsets.dtype == np.int64
    assert len(offsets) == len(some) + 1
    assert (int(offsets[0]), int(offsets[-1])) == (0, len(ids))
    return [ids[offsets[at] : offsets[at + 1]].tolist() for at in range(len(some))]


# --- the same ids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAST)
@given(texts)
def test_a_fast_back_end_gives_the_ids_of_the_reference(name: str, some: list[str]) -> None:
    assert lists(ENCODERS[name], some) == lists(ENCODERS["tokenizers"], some)


@given(texts)
def test_splitting_special_tokens_gives_the_ids_of_the_reference(some: list[str]) -> None:
    assert lists(SPLITTING["fastokens"], some) == lists(SPLITTING["tokenizers"], some)


@pytest.mark.parametrize("name", SPLITTING)
def test_what_is_split_is_ordinary_text_whatever_kind_of_token_it_spells(name: str) -> None:
    raw = json.loads(JSON)
    tokens = [*raw["added_tokens"], raw["added_tokens"][0] | {"content": "<call>", "id": 1088, "special": False}]
    bare = load_encoder("tokenizers", json.dumps(raw | {"added_tokens": []}))
    splitting = load_encoder(name, json.dumps(raw | {"added_tokens": tokens}), split_special_tokens=True)
    spelled = [f"a{token['content']}b" for token in tokens if "think" not in token["content"]]
    assert lists(splitting, spelled) == lists(bare, spelled)
    assert lists(splitting, ["a<think>b"]) != lists(bare, ["a<think>b"]), "the marks of a thought are left whole"


@pytest.mark.parametrize("name", BACK_ENDS)
@given(texts)
def test_a_text_has_the_same_ids_in_any_company(name: str, some: list[str]) -> None:
    encoder = ENCODERS[name]
    assert lists(encoder, some) == [lists(encoder, [text])[0] for text in some]


@pytest.mark.parametrize("name", BACK_ENDS)
def test_no_texts_give_no_ids(name: str) -> None:
    assert lists(ENCODERS[name], []) == []
    assert lists(ENCODERS[name], [""]) == [[]]


@pytest.mark.parametrize("name", BACK_ENDS)
def test_the_library_itself_agrees_on_one_text(name: str) -> None:
    import tokenizers

    text = "<|im_start|>user\nHow high is the tide? 潮汐<|im_end|>\n"
    want = tokenizers.Tokenizer.from_str(JSON).encode(text, add_special_tokens=False).ids
    assert lists(ENCODERS[name], [text]) == [want]


def test_special_text_is_one_token_or_many_as_requested() -> None:
    assert len(lists(ENCODERS["tokenizers"], ["<|im_end|>"])[0]) == 1
    assert len(lists(SPLITTING["tokenizers"], ["<|im_end|>"])[0]) > 1


# --- the proof --------------------------------------------------------------------------------------------------------

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def found(change: Change, some: Sequence[str] = ("one text", "another text")) -> str:
    """What is said of a back end that gives the reference's ids, changed."""
    ids, offsets = change(*ENCODERS["tokenizers"].encode(some))
    return differences("fake", some, ids, offsets, ENCODERS["tokenizers"])


@pytest.mark.parametrize("name", FAST)
def test_nothing_is_reported_of_a_back_end_that_agrees(name: str) -> None:
    assert differences(name, NASTY, *ENCODERS[name].encode(NASTY), ENCODERS["tokenizers"]) == ""


def test_one_wrong_id_is_reported() -> None:
    def change(ids: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wrong = ids.copy()
        wrong[-1] += 1
        return wrong, offsets

    assert found(change) == "fake gives other ids for 1 of 2 texts"


def test_a_moved_border_is_reported() -> None:
    """The same ids in a row, but cut between other texts, are other ids."""

    def change(ids: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = offsets.copy()
        moved[-2] -= 1
        return ids, moved

    assert found(change) == "fake gives other ids for 2 of 2 texts"


def test_too_few_results_are_reported() -> None:
    assert found(lambda ids, offsets: (ids, offsets[:-1])) == "fake gives 1 results for 2 texts"


def test_gigatoken_cannot_split() -> None:
    with pytest.raises(ValueError, match="always recognises added tokens"):
        load_encoder("gigatoken", JSON, split_special_tokens=True)


@pytest.mark.parametrize("json_text", ["{}", '{"model": {"type": "Future"}}', "no json"])
def test_a_tokenizer_that_the_reference_cannot_read_is_explained(json_text: str) -> None:
    with pytest.raises(UsageFault, match=r"tokenizer\.json: tokenizers [0-9.]+ cannot read it"):
        load_encoder("tokenizers", json_text)


# --- choose -----------------------------------------------------------------------------------------------------------


def test_families_are_distinguished() -> None:
    assert family(json.loads(JSON)) == family(BYTE_LEVEL) == "byte-level"
    assert family(SENTENCEPIECE) == "sentencepiece"
    assert family(WORDS) == family({}) == family({"model": {"type": "Unigram", "vocab": []}}) == "other"


@pytest.mark.parametrize(
    ("raw", "input_bytes", "split", "name"),
    [
        (BYTE_LEVEL, SMALL_BYTES - 1, False, "tokenizers"),  # done before another has loaded
        (BYTE_LEVEL, SMALL_BYTES, False, "gigatoken"),
        (BYTE_LEVEL, MEDIUM_BYTES, False, "fastokens"),
        (BYTE_LEVEL, SMALL_BYTES, True, "fastokens"),  # the only fast one that can split
        (SENTENCEPIECE, SMALL_BYTES - 1, False, "tokenizers"),
        (SENTENCEPIECE, MEDIUM_BYTES, False, "gigatoken"),
        (SENTENCEPIECE, MEDIUM_BYTES, True, "tokenizers"),
        (WORDS, MEDIUM_BYTES, False, "tokenizers"),
    ],
)
def test_the_back_end_fits_the_family_and_the_size(
    raw: dict[str, Any], input_bytes: int, split: bool, name: str
) -> None:
    assert choose(raw, input_bytes, split_special_tokens=split) == name


# --- real tokenizers --------------------------------------------------------------------------------------------------

ASSETS = os.environ.get("PREP_ASSETS")


@pytest.mark.skipif(not ASSETS, reason="PREP_ASSETS names no folder with tok/<name>/tokenizer.json")
@pytest.mark.parametrize("name", ["qwen3", "llama3_1", "phi3"])
def test_real_tokenizers_give_the_same_ids(name: str) -> None:
    files = load_tokenizer_files(f"{ASSETS}/tok/{name}")
    json_text = fit(files, None).json_text
    best = choose(files.raw, MEDIUM_BYTES)
    some = [*NASTY, "A text of the user.", "第二个文本。"]
    ids, offsets = load_encoder(best, json_text).encode(some)
    assert differences(best, some, ids, offsets, load_encoder("tokenizers", json_text)) == ""
