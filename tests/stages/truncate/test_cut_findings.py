"""What a cut says of each example, and what becomes of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.rules import Policy
from stages.core.collector import Tally
from stages.core.findings import Note
from stages.core.records import Chunk
from stages.truncate import CutOptions
from stages.truncate.cut_findings import DROPPED, KEPT, REJECTED, Segments, cut_chunk, cut_examples

SEGMENT = st.tuples(st.integers(0, 40), st.integers(0, 1))  # tokens, and whether they are trained
EXAMPLES = st.lists(st.lists(st.tuples(SEGMENT, SEGMENT), min_size=1, max_size=3), max_size=8).map(
    lambda examples: [[segment for turn in example for segment in turn] for example in examples]
)


def segments_of(examples: list[list[tuple[int, int]]]) -> Segments:
    flat = [segment for example in examples for segment in example]
    return Segments(
        np.array([tokens for tokens, _ in flat], dtype=np.int32),
        np.array([trained for _, trained in flat], dtype=np.uint8),
        np.array([len(example) for example in examples], dtype=np.int32),
    )


def fates(
    options: CutOptions, overlong: str, segments: Segments, policy: Policy, *, every_note: bool = True
) -> tuple[list[int], dict[int, list[str]]]:
    """What becomes of each example, and the rules that each one breaks."""
    noted: dict[int, list[str]] = {}

    def judge(example: int, notes: list[Note]) -> int | None:
        noted[example] = [note.rule for note in notes]
        return REJECTED if any(policy.severity(note.rule) == "error" for note in notes) else None

    return cut_examples(options, overlong, segments, judge, every_note=every_note).fate.tolist(), noted


@given(EXAMPLES, st.sampled_from(["truncate", "drop", "error", "split"]), st.sampled_from([None, 2]), st.booleans())
def test_without_every_note_the_fates_are_the_same(
    examples: list[list[tuple[int, int]]], overlong: str, eos: int | None, from_end: bool
) -> None:
    """The notes that are not made reject nothing, as long as the policy makes no errors of them."""
    options = CutOptions("lm", 50, from_end=from_end, efficient_eos=eos)
    segments, policy = segments_of(examples), Policy.make("sft")
    assert (
        fates(options, overlong, segments, policy)[0] == fates(options, overlong, segments, policy, every_note=False)[0]
    )


@pytest.mark.parametrize("eos", [None, 2])
def test_an_example_with_no_trained_token_is_rejected(eos: int | None) -> None:
    """Also where the template appends an EOS, which carries no loss after an answer that carries none."""
    segments = segments_of([[(5, 0), (5, 0)], [(5, 0), (5, 1)]])
    found, noted = fates(CutOptions("lm", 50, efficient_eos=eos), "truncate", segments, Policy.make("sft"))
    assert found == [REJECTED, KEPT]
    assert noted == {0: ["length.no-trained-token"]}


@pytest.mark.parametrize(
    ("overlong", "fate", "rules"),
    [
        ("truncate", KEPT, ["length.answer-cut"]),
        ("drop", DROPPED, ["length.dropped"]),
        ("error", REJECTED, ["length.over-cutoff"]),
    ],
)
def test_what_is_too_long_goes_as_overlong_says(overlong: str, fate: int, rules: list[str]) -> None:
    found, noted = fates(CutOptions("lm", 50), overlong, segments_of([[(5, 0), (60, 1)]]), Policy.make("sft"))
    assert found == [fate]
    assert noted == {0: rules}


def test_a_record_that_the_cut_rejects_is_kept_aside_with_its_bytes() -> None:
    data = b'{"a": 1}\n{"b": 2}\n'
    segments = segments_of([[(5, 0), (5, 1)], [(60, 0), (60, 0)]])
    sections = {
        "segments": segments.tokens,
        "trained": segments.trained,
        "counts": segments.counts,
        "places": np.array([[7, 8, 100, 8], [8, 9, 109, 8]], dtype=np.int64).ravel(),
        "hash": np.array([1, 2], dtype=np.uint64),
    }
    chunk = Chunk("a.jsonl", 0, "jsonl", 100, 118, 8, 7, 2, data)
    tally = Tally("a.jsonl", Policy.make("sft"))
    found = cut_chunk(CutOptions("lm", 50), "truncate", tally, chunk, sections, "x.cache")
    assert found.fate.tolist() == [KEPT, REJECTED]
    assert (found.record.tolist(), found.line.tolist(), found.cache) == ([7, 8], [8, 9], "x.cache")
    (reject,) = tally.rejects
    assert (reject.data, reject.line, reject.record, reject.byte_offset) == (b'{"b": 2}', 9, 8, 109)
    assert tally.rejected == {"length.no-trained-token": 1}
