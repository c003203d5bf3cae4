"""Best-fit decreasing as the textbook has it: the rows it opens are needed."""

from __future__ import annotations

from hypothesis import given

from stages.pack.best_fit import best_fit
from tests.support.packing import sets


@given(sets())
def test_best_fit_is_the_textbook_algorithm(lengths_and_limit: tuple[list[int], int]) -> None:
    """Longest first, each into the fullest row that still holds it (rows of equal room may swap, so compare rooms)."""
    lengths, limit = lengths_and_limit
    rooms: list[int] = []
    for tokens in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= tokens]
        if fitting:
            rooms.remove(min(fitting))
            rooms.append(min(fitting) - tokens)
        else:
            rooms.append(limit - tokens)
    rows = best_fit(lengths, limit)
    assert sorted(limit - sum(lengths[index] for index in row) for row in rows) == sorted(rooms)


def test_the_drawing_in_the_module_is_true() -> None:
    assert best_fit([5, 4, 3, 3, 1], 8) == [[0, 2], [1, 3, 4]]


@given(sets())
def test_no_two_rows_could_be_one(lengths_and_limit: tuple[list[int], int]) -> None:
    """So at most one row is filled to less than its middle."""
    lengths, limit = lengths_and_limit
    fills = sorted(sum(lengths[index] for index in row) for row in best_fit(lengths, limit))
    assert len(fills) < 2 or fills[0] + fills[1] > limit


def test_equal_lengths_are_taken_in_the_order_of_the_input() -> None:
    assert best_fit([4, 4, 4, 4], 8) == [[0, 1], [2, 3]]


def test_an_example_without_tokens_fits_a_full_row() -> None:
    assert best_fit([8, 0, 0], 8) == [[0, 1, 2]]


def test_lengths_beyond_32_bits_give_the_same_rows() -> None:
    big = 1 << 40
    assert best_fit([5 * big, 4 * big, 3 * big, 3 * big, big], 8 * big) == best_fit([5, 4, 3, 3, 1], 8)
