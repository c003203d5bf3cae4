"""A batch encodes to what each piece encodes to on its own, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.templates import load_template
from stages.core.arrays import gather
from stages.core.segments import Rendered
from stages.tokenize.backends import BACK_ENDS, Encoder, Ids, Offsets, ReferenceEncoder, load_encoder
from stages.tokenize.batch import Encoded, encode
from stages.tokenize.fitted import fit
from stages.tokenize.tokenizer_files import load_tokenizer_files

TINY = str(Path(__file__).parents[3] / "fixtures" / "tiny")
JSON = fit(load_tokenizer_files(TINY), load_template("qwen")).json_text
ENCODERS: dict[str, Encoder] = {name: load_encoder(name, JSON) for name in BACK_ENDS}
REFERENCE = ReferenceEncoder(JSON)

pieces = (
    st.integers(0, 1087)
    | st.text(max_size=20)
    | st.sampled_from(["<|im_start|>user\n", "<|im_end|>\n", "You are careful.", " ", ""])
)
segments = st.lists(st.lists(pieces, max_size=4), max_size=4)


@st.composite
def rendered(draw: st.DrawFn) -> Rendered:
    some = draw(segments)
    return Rendered(some, [draw(st.integers(0, 1)) for _ in some], draw(st.sampled_from([0, 1, 255])))


batches = st.lists(rendered(), max_size=5)


def alone(piece: str | int) -> list[int]:
    """One piece by the library's own call."""
    if isinstance(piece, int):
        return [piece]
    ids: list[int] = REFERENCE.tokenizer.encode(piece, add_special_tokens=False).ids
    return ids


def check_shapes(batch: Encoded, examples: Sequence[Rendered]) -> None:
    assert [array.dtype for array in batch] == [np.int32, np.int32, np.uint8, np.int32, np.uint8]
    assert len(batch.ids) == int(batch.segments.sum())
    assert len(batch.segments) == len(batch.trained) == int(batch.counts.sum())
    assert len(batch.counts) == len(batch.labels) == len(examples)


@pytest.mark.parametrize("name", BACK_ENDS)
@given(batches)
def test_a_batch_is_its_pieces_one_by_one(name: str, examples: list[Rendered]) -> None:
    batch = encode(examples, ENCODERS[name])
    check_shapes(batch, examples)
    want = [
        [token for piece in segment for token in alone(piece)] for example in examples for segment in example.segments
    ]
    assert batch.ids.tolist() == [token for segment in want for token in segment]
    assert batch.segments.tolist() == [len(segment) for segment in want]
    assert batch.trained.tolist() == [flag for example in examples for flag in example.trained]
    assert batch.counts.tolist() == [len(example.segments) for example in examples]
    assert batch.labels.tolist() == [example.label for example in examples]


@pytest.mark.parametrize("name", BACK_ENDS)
def test_an_empty_batch_has_empty_arrays(name: str) -> None:
    batch = encode([], ENCODERS[name])
    check_shapes(batch, [])
    assert all(len(array) == 0 for array in batch)


@pytest.mark.parametrize("name", BACK_ENDS)
def test_a_batch_of_nothing_but_ids_needs_no_text(name: str) -> None:
    batch = encode([Rendered([[5, 5], [7]], [0, 1]), Rendered([[], [5]], [0, 1])], ENCODERS[name])
    assert (batch.ids.tolist(), batch.segments.tolist()) == ([5, 5, 7, 5], [2, 1, 0, 1])


def test_pieces_side_by_side_are_not_joined() -> None:
    """The borders are part of the result: `he` in two pieces is two tokens."""
    apart, joined = Rendered([["h", "e"]], [1]), Rendered([["he"]], [1])
    batch = encode([apart, joined], REFERENCE)
    assert batch.ids.tolist() == alone("h") + alone("e") + alone("he")
    assert alone("h") + alone("e") != alone("he"), "the pair shows a difference at all"


class Counting:
    """An encoder that remembers what it encoded."""

    name = "counting"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        self.calls.append(list(texts))
        return REFERENCE.encode(texts)


def test_a_repeated_text_is_encoded_once_and_a_batch_in_one_call() -> None:
    system, counting = "You are a careful clerk.", Counting()
    examples = [Rendered([[system, f"question {at}"], ["yes"]], [0, 1]) for at in range(10)]
    batch = encode(examples, counting)
    assert [sorted(call) for call in counting.calls] == [
        sorted({system, "yes", *(f"question {at}" for at in range(10))})
    ]
    assert batch.ids.tolist() == [
        token for at in range(10) for text in (system, f"question {at}", "yes") for token in alone(text)
    ]


@given(st.lists(st.integers(0, 99), max_size=30), st.data())
def test_gather_joins_runs(values: list[int], data: st.DataObject) -> None:
    source = np.asarray(values, dtype=np.int32)
    spans = data.draw(st.lists(st.tuples(st.integers(0, len(values)), st.integers(0, 8)), max_size=6))
    spans = [(start, min(tokens, len(values) - start)) for start, tokens in spans]
    starts = np.asarray([start for start, _ in spans], dtype=np.int64)
    lengths = np.asarray([tokens for _, tokens in spans], dtype=np.int64)
    got = gather(source, starts, lengths)
    assert got.dtype == np.int32
    assert got.tolist() == [value for start, tokens in spans for value in values[start : start + tokens]]
