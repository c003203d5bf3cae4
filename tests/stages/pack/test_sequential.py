"""Next fit: the input's order is kept, and a row ends only where the next example does not fit."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given

from stages.pack.sequential import next_fit
from tests.support.packing import sets


@given(sets())
def test_sequential_packing_keeps_the_order_of_the_input(lengths_and_limit: tuple[list[int], int]) -> None:
    lengths, limit = lengths_and_limit
    rows = next_fit(lengths, limit)
    assert [index for row in rows for index in row] == list(range(len(lengths)))
    for row, following in itertools.pairwise(rows):  # a row ends only where the next example does not fit
        assert sum(lengths[index] for index in row) + lengths[following[0]] > limit


@pytest.mark.parametrize(
    ("lengths", "rows"),
    [
        ([5, 4, 3, 3, 1], [[0], [1, 2], [3, 4]]),
        ([8, 8], [[0], [1]]),
        ([8, 0, 0, 1], [[0, 1, 2], [3]]),
        ([0, 0], [[0, 1]]),
        ([], []),
    ],
)
def test_rows_of_eight(lengths: list[int], rows: list[list[int]]) -> None:
    assert next_fit(lengths, 8) == rows


@given(sets())
def test_two_neighbours_hold_more_than_one_row_could(lengths_and_limit: tuple[list[int], int]) -> None:
    """Hence never more than twice the rows that are needed, and one."""
    lengths, limit = lengths_and_limit
    fills = [sum(lengths[index] for index in row) for row in next_fit(lengths, limit)]
    assert all(first + second > limit for first, second in itertools.pairwise(fills))
