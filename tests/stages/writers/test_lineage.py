"""The lineage: one line an example, and only what differs from the usual is written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.writers.lineage import Group, Parts, masks, usual_mask, write_lineage

KINDS = st.sampled_from(["lm", "pt", "pref", "unpaired", "prompt"])


@pytest.mark.parametrize(
    ("kind", "counts", "mask"),
    [
        ("lm", [4, 2], [0, 1, 0, 1, 0, 1]),
        ("pt", [1, 1], [1, 1]),
        ("pref", [3, 3], [0, 1, 1, 0, 1, 1]),
        ("unpaired", [2], [0, 1]),
        ("lm", [], []),
    ],
)
def test_the_usual_loss_is_on_answers_and_documents(kind: str, counts: list[int], mask: list[int]) -> None:
    assert usual_mask(np.array(counts, dtype=np.int32), kind).tolist() == mask


@given(st.lists(st.lists(st.integers(0, 1), max_size=5), max_size=8), KINDS)
def test_a_mask_is_null_exactly_where_it_is_the_usual_one(flags: list[list[int]], kind: str) -> None:
    counts = np.array([len(each) for each in flags], dtype=np.int32)
    trained = np.array([flag for each in flags for flag in each], dtype=np.uint8)
    for written, each in zip(masks(trained, counts, kind).to_pylist(), flags, strict=True):
        usual = usual_mask(np.array([len(each)], dtype=np.int32), kind).tolist()
        assert written == (None if each == usual else each)


def parts_of(count: int) -> Parts:
    columns = [np.arange(count, dtype=np.int64) + 10 * number for number in range(len(Parts._fields))]
    return Parts(*columns)  # type: ignore[arg-type]  # wider than needed


def test_a_selection_keeps_every_column_together() -> None:
    some = parts_of(5).take(np.array([3, 0]))
    assert [column.tolist() for column in some] == [[10 * n + 3, 10 * n] for n in range(len(Parts._fields))]


def group_of(before: list[list[int]], after: list[list[int]]) -> Group:
    counts = np.array([len(each) for each in before], dtype=np.int32)
    flat = np.array([n for each in before for n in each], dtype=np.int32)
    kept = np.array([n for each in after for n in each], dtype=np.int32)
    changed = np.array([a != b for a, b in zip(before, after, strict=True)], dtype=np.bool_)
    none = np.empty(0, dtype=np.int32)
    return Group(none, flat, kept, usual_mask(counts, "lm"), counts, none.astype(np.uint8), changed)


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4), max_size=6))
def test_lengths_after_the_cut_stand_only_where_something_was_cut(pairs: list[list[tuple[int, int]]]) -> None:
    before, after = [[a for a, _ in each] for each in pairs], [[b for _, b in each] for each in pairs]
    numbers = np.arange(len(pairs), dtype=np.int64)
    table = write_lineage(numbers, numbers, numbers, parts_of(len(pairs)), group_of(before, after), "lm")
    table.validate(full=True)
    for row, one, other in zip(table.to_pylist(), before, after, strict=True):
        assert row["before"] == one
        assert row["after"] == (None if one == other else other)


def test_a_number_beyond_32_bits_is_an_error_and_not_another_number() -> None:
    numbers = np.array([2**31], dtype=np.int64)
    with pytest.raises(OverflowError):
        write_lineage(numbers, numbers, numbers, parts_of(1), group_of([[1]], [[1]]), "lm")
