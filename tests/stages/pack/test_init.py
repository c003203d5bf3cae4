"""Packing loses nothing, repeats nothing, never overfills a row, and depends on the lengths alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.pack import PACKERS, pack
from tests.support.packing import sets


def chat_lengths(count: int, limit: int) -> list[int]:
    """Lengths like those of chat data: most short, a long tail, some cut at the limit."""
    rng = np.random.default_rng(0)
    return np.clip(rng.lognormal(5.7, 0.9, count), 8, limit).astype(int).tolist()


def fill(rows: list[list[int]], lengths: list[int], limit: int) -> float:
    return sum(lengths) / (len(rows) * limit)


@given(sets(), st.sampled_from(sorted(PACKERS)))
def test_every_example_stands_in_exactly_one_row(lengths_and_limit: tuple[list[int], int], strategy: str) -> None:
    lengths, limit = lengths_and_limit
    rows = pack(lengths, limit, strategy)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(rows)


@given(sets(), st.sampled_from(sorted(PACKERS)))
def test_no_row_is_over_the_limit(lengths_and_limit: tuple[list[int], int], strategy: str) -> None:
    lengths, limit = lengths_and_limit
    assert all(sum(lengths[index] for index in row) <= limit for row in pack(lengths, limit, strategy))


@given(sets(), st.sampled_from(sorted(PACKERS)))
def test_the_rows_are_a_function_of_the_lengths(lengths_and_limit: tuple[list[int], int], strategy: str) -> None:
    lengths, limit = lengths_and_limit
    rows = pack(lengths, limit, strategy)
    assert rows == pack(tuple(lengths), limit, strategy)
    assert rows == pack(np.asarray(lengths, dtype=np.int32), limit, strategy), "an array gives what a list gives"


@given(sets(), st.sampled_from(sorted(PACKERS)))
def test_examples_of_a_row_keep_their_order(lengths_and_limit: tuple[list[int], int], strategy: str) -> None:
    lengths, limit = lengths_and_limit
    assert all(row == sorted(row) for row in pack(lengths, limit, strategy))


def test_chat_data_fill_their_rows() -> None:
    lengths = chat_lengths(5000, 4096)
    assert fill(pack(lengths, 4096), lengths, 4096) >= 0.99
    assert fill(pack(lengths, 4096, "sequential"), lengths, 4096) < fill(pack(lengths, 4096), lengths, 4096)


@pytest.mark.parametrize("strategy", PACKERS)
def test_no_examples_give_no_rows(strategy: str) -> None:
    assert pack([], 8, strategy) == []


def test_an_example_over_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="9 tokens does not fit a row of 8"):
        pack([3, 9], 8)


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="'worst_fit' is not one of"):
        pack([1], 8, "worst_fit")
