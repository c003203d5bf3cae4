"""Lineage columns: what is null means the usual value."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.output.lineage_columns import Lists, filled, lists, numbers, plain
from stages.writers.lineage import masks, usual_mask


@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=6), max_size=30), st.sampled_from(["lm", "pref", "pt"])
)
def test_masks_survive_their_column(flags: list[list[int]], kind: str) -> None:
    """What is null in the file is the usual mask; everything else is kept as it was."""
    counts = np.array([len(one) for one in flags], dtype=np.int32)
    trained = np.array([flag for one in flags for flag in one], dtype=np.uint8)
    like = Lists(trained, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    column = pa.table({"trained": masks(trained, counts, kind)})
    back, there = filled(column, "trained", usual_mask(counts, kind), like)
    assert back.values.tolist() == trained.tolist()
    usual = [usual_mask(np.array([len(one)]), kind).tolist() == one for one in flags]
    assert there.tolist() == [not same for same in usual]


def test_lists_end_to_end() -> None:
    """A null is an empty list; a slice begins where it begins; an empty table has no lists."""
    table = pa.table({"a": pa.array([[1, 2], None, [3]], pa.list_(pa.int32())), "n": pa.array([4, 5, 6], pa.int64())})
    found = lists(table, "a")
    assert [found.at(index) for index in range(3)] == [[1, 2], [], [3]]
    assert found.counts.tolist() == [2, 0, 1]
    assert numbers(table, "n").tolist() == [4, 5, 6]
    assert plain(table.column("n").chunk(0).slice(1)).tolist() == [5, 6]
    assert lists(table.slice(0, 0), "a").counts.tolist() == numbers(table.slice(0, 0), "n").tolist() == []
