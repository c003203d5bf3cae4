"""Sums and gathers over runs equal those of plain slices, empty runs included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.arrays import gather, sums

RUNS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6), max_size=6)


@given(RUNS)
def test_each_run_has_its_own_sum(runs: list[list[int]]) -> None:
    """Also where the sum of 32-bit values needs more than 32 bits."""
    values = np.asarray(list(itertools.chain(*runs)), dtype=np.int32)
    borders = np.cumsum([0, *map(len, runs)])
    found = sums(values, borders)
    assert found.dtype == np.int64
    assert found.tolist() == [sum(run) for run in runs]


@given(st.lists(st.integers(-9, 9), max_size=12), st.data())
def test_runs_are_joined_in_the_order_given(source: list[int], data: st.DataObject) -> None:
    """Runs may overlap, repeat and be empty."""
    edges = st.integers(0, len(source))
    runs = data.draw(st.lists(st.tuples(edges, edges).map(sorted), max_size=6))
    starts = np.asarray([start for start, _ in runs], dtype=np.int64)
    lengths = np.asarray([end - start for start, end in runs], dtype=np.int64)
    found = gather(np.asarray(source, dtype=np.int32), starts, lengths)
    assert found.dtype == np.int32
    assert found.tolist() == list(itertools.chain.from_iterable(source[start:end] for start, end in runs))


def test_a_run_beyond_the_source_is_no_silent_short_read() -> None:
    with pytest.raises(IndexError):
        gather(np.arange(3, dtype=np.int32), np.array([1]), np.array([3]))
