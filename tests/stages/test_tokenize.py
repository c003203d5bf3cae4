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
from stages import tokenize
from stages.tokenize import (
    BACK_ENDS,
    MEDIUM_BYTES,
    NASTY,
    SMALL_BYTES,
    Encoder,
    check,
    choose,
    family,
    load_encoder,
)
from stages.tokenizer_files import fit, load_tokenizer_files

TINY = str(Path(__file__).parents[2] / "fixtures" / "tiny")
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


def test_special_text_is_one_token_or_many_as_asked() -> None:
    assert len(lists(ENCODERS["tokenizers"], ["<|im_end|>"])[0]) == 1
    assert len(lists(SPLITTING["tokenizers"], ["<|im_end|>"])[0]) > 1


# --- check ------------------------------------------------------------------------------------------------------------


class Fake:
    """A back end that gives the reference's ids, changed."""

    name = "fake"
    change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

    def __init__(self, json_text: str, *, split_special_tokens: bool = False) -> None:
        self.real = load_encoder("tokenizers", json_text)

    def encode(self, some: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        return type(self).change(*self.real.encode(some))


def fake(monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any]) -> None:
    monkeypatch.setitem(tokenize.BACK_ENDS, "fake", type("Fake", (Fake,), {"change": staticmethod(change)}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FAST)
def test_a_back_end_that_agrees_is_used(name: str) -> None:
    verdict = check(name, JSON, ["some text of the user"])
    assert (verdict.back_end, verdict.tried, verdict.texts, verdict.differ) == (name, name, len(NASTY) + 1, 0)
    assert json.loads(json.dumps(verdict.as_dict()))["back_end"] == name


def test_the_reference_needs_no_check() -> None:
    assert check("tokenizers", "not even json", []).back_end == "tokenizers"


def test_one_wrong_id_hands_over_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(ids: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wrong = ids.copy()
        wrong[-1] += 1
        return wrong, offsets

    fake(monkeypatch, change)
    verdict = check("fake", JSON, ["the last text"])
    assert (verdict.back_end, verdict.tried, verdict.differ) == ("tokenizers", "fake", 1)
    assert "other ids for 1 of" in verdict.reason


def test_a_moved_border_hands_over_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ids in a row, but cut between other texts, are other ids."""

    def change(ids: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = offsets.copy()
        moved[-2] -= 1
        return ids, moved

    fake(monkeypatch, change)
    verdict = check("fake", JSON, ["one text", "another text"])
    assert (verdict.back_end, verdict.differ) == ("tokenizers", 2)


def test_too_few_results_hand_over_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda ids, offsets: (ids, offsets[:-1]))
    verdict = check("fake", JSON, ["one text", "another text"])
    assert verdict.back_end == "tokenizers"
    assert verdict.differ == verdict.texts
    assert "results for" in verdict.reason


def panic(*_: object) -> None:
    class PanicException(BaseException):  # how a Rust back end ends
        pass

    raise PanicException("index out of bounds")


@pytest.mark.parametrize("how", [panic, lambda *_: 1 / 0])
def test_a_back_end_that_breaks_hands_over_to_the_reference(
    monkeypatch: pytest.MonkeyPatch, how: Callable[..., Any]
) -> None:
    fake(monkeypatch, how)
    verdict = check("fake", JSON, [])
    assert (verdict.back_end, verdict.tried) == ("tokenizers", "fake")
    assert "cannot read this tokenizer" in verdict.reason


def test_an_interrupt_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    fake(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        check("fake", JSON, [])


def test_a_back_end_that_cannot_split_hands_over_to_the_reference() -> None:
    verdict = check("gigatoken", JSON, [], split_special_tokens=True)
    assert verdict.back_end == "tokenizers"
    assert "always recognises added tokens" in verdict.reason


@pytest.mark.parametrize("json_text", ["{}", '{"model": {"type": "Future"}}', "no json"])
def test_a_tokenizer_that_the_reference_cannot_read_is_explained(json_text: str) -> None:
    with pytest.raises(UsageFault, match=r"tokenizer\.json: tokenizers [0-9.]+ cannot read it"):
        load_encoder("tokenizers", json_text)


# --- choose -----------------------------------------------------------------------------------------------------------


def test_families_are_told_apart() -> None:
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
def test_real_tokenizers_give_the_same_ids_or_hand_over(name: str) -> None:
    files = load_tokenizer_files(f"{ASSETS}/tok/{name}")
    json_text = fit(files, None).json_text
    best = choose(files.raw, MEDIUM_BYTES)
    verdict = check(best, json_text, ["A text of the user.", "第二个文本。"])
    assert verdict.back_end in (best, "tokenizers")
    assert (verdict.back_end == best) == (verdict.differ == 0 and "cannot read" not in verdict.reason)
