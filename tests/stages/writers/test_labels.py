"""Ids and labels: a label is its token where a loss is wanted, and -100 everywhere else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.truncate import CutOptions
from stages.writers.labels import IGNORE, Rows, assemble_lm, assemble_parts

LM = CutOptions("lm", 1000)


class Segment(NamedTuple):
    before: int
    kept: int
    trained: int


segments = st.integers(0, 6).flatmap(lambda n: st.builds(Segment, st.just(n), st.integers(0, n), st.integers(0, 1)))
examples = st.lists(st.lists(segments, min_size=1, max_size=4), min_size=1, max_size=5)


def int32(values: list[int]) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


def assembled(given: list[list[Segment]], options: CutOptions = LM) -> tuple[Rows, NDArray[np.int32]]:
    flat = [segment for example in given for segment in example]
    ids = np.arange(1, sum(segment.before for segment in flat) + 1, dtype=np.int32)
    trained = np.array([segment.trained for segment in flat], dtype=np.uint8)
    before, kept = int32([s.before for s in flat]), int32([s.kept for s in flat])
    return assemble_lm(ids, before, kept, trained, int32([len(e) for e in given]), options), ids


@settings(max_examples=30)
@given(examples)
def test_every_segment_keeps_its_beginning_and_only_trained_ones_their_labels(given: list[list[Segment]]) -> None:
    rows, ids = assembled(given)
    at = token = 0
    for number, example in enumerate(given):
        assert rows.borders[number] == at
        for segment in example:
            want = ids[token : token + segment.kept].tolist()
            assert rows.ids[at : at + segment.kept].tolist() == want
            labels = rows.labels[at : at + segment.kept].tolist()
            assert labels == (want if segment.trained else [IGNORE] * segment.kept)
            at, token = at + segment.kept, token + segment.before
    assert rows.borders[-1] == at == len(rows.ids) == len(rows.labels)


@settings(max_examples=30)
@given(examples.map(lambda many: [[*each, Segment(0, 0, 1)] if len(each) % 2 else each for each in many]))
def test_an_appended_eos_ends_each_example_and_moves_no_other_token(given: list[list[Segment]]) -> None:
    plain, _ = assembled(given)
    ended, _ = assembled(given, CutOptions("lm", 1000, efficient_eos=-7))
    assert len(ended.ids) == len(plain.ids) + len(given)
    assert (ended.ids[ended.borders[1:] - 1] == -7).all()
    assert ended.ids[ended.ids != -7].tolist() == plain.ids.tolist()


def test_eos_is_the_label_where_the_model_should_have_stopped() -> None:
    source, answer = Segment(1, 1, 0), Segment(1, 1, 1)
    rows, _ = assembled([[source, answer, source, answer]], CutOptions("lm", 1000, efficient_eos=99))
    assert rows.ids.tolist() == [1, 2, 3, 4, 99]
    assert rows.labels.tolist() == [IGNORE, 2, 99, 4, 99]
    rows, _ = assembled([[source, Segment(1, 1, 0), source, Segment(1, 1, 0)]], CutOptions("lm", 9, efficient_eos=99))
    assert rows.labels.tolist() == [IGNORE] * 5, "after an answer of weight 0 no stop is trained"


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=5), st.integers(0, 4))
def test_columns_of_a_pair_hold_one_segment_each(lengths: list[tuple[int, ...]], most: int) -> None:
    flat = [n for each in lengths for n in each]
    ids = np.arange(sum(flat), dtype=np.int32)
    columns = assemble_parts(ids, int32(flat), int32([min(n, most) for n in flat]), 3)
    starts = np.concatenate([[0], np.cumsum(flat)])
    for part, (values, borders) in enumerate(columns):
        for example, each in enumerate(lengths):
            first = starts[3 * example + part]
            want = list(range(first, first + min(each[part], most)))
            assert values[borders[example] : borders[example + 1]].tolist() == want


def test_lengths_that_exceed_the_ids_are_an_error() -> None:
    with pytest.raises(IndexError):
        assemble_parts(int32([1]), int32([1, 2]), int32([1, 2]), 2)
    with pytest.raises(ValueError, match="broadcast"):
        assemble_lm(int32([1, 2]), int32([3]), int32([3]), np.ones(1, dtype=np.uint8), int32([1]), LM)
