"""Truncation keeps what LLaMA-Factory keeps, to the token, and never more than `cutoff_len`.

The cases are computed by hand from the rule as LLaMA-Factory states it; the goldens hold upstream's own rows.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.truncate.proportional import cut_pair, cut_preference, cut_turns

lengths = st.integers(0, 80)
limits = st.integers(1, 200)
conversations = st.lists(st.tuples(lengths, lengths), max_size=6).map(lambda turns: [*itertools.chain(*turns)])


# --- one turn ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "limit", "kept"),
    [
        # both at least half the limit: in proportion, the answer rounded down
        (10, 30, 20, (5, 15)),
        (30, 10, 20, (15, 5)),
        (50, 50, 3, (2, 1)),
        (33, 67, 10, (4, 6)),
        (1, 2, 2, (1, 1)),
        (50, 50, 1, (1, 0)),
        # an answer below half the limit stays whole, the prompt pays
        (100, 5, 20, (15, 5)),
        (100, 9, 20, (11, 9)),
        (50, 0, 10, (10, 0)),
        # a prompt below half the limit stays whole, the answer pays
        (5, 100, 20, (5, 15)),
        (9, 100, 20, (9, 11)),
        (0, 50, 1, (0, 1)),
        # exactly half the limit is not below it: one token more makes a cliff
        (100, 10, 20, (19, 1)),
        (10, 100, 20, (2, 18)),
        # what fits stays
        (12, 8, 20, (12, 8)),
        (0, 0, 1, (0, 0)),
    ],
)
def test_a_turn_is_cut_by_the_rule(source: int, target: int, limit: int, kept: tuple[int, int]) -> None:
    assert cut_pair(source, target, limit) == kept


def test_the_rounding_is_that_of_upstreams_float_division() -> None:
    """22 * 30 / 44 is 15, but 22 * (30 / 44) falls just short of it in floats, and upstream then keeps 14."""
    assert cut_pair(14, 30, 22) == (8, 14)


@given(lengths, lengths, limits)
def test_a_turn_spends_the_whole_limit_and_no_more(source: int, target: int, limit: int) -> None:
    kept_source, kept_target = cut_pair(source, target, limit)
    assert 0 <= kept_source <= source
    assert 0 <= kept_target <= target
    assert kept_source + kept_target == min(limit, source + target)


@given(lengths, lengths, limits)
def test_two_long_segments_keep_their_proportion_to_the_token(source: int, target: int, limit: int) -> None:
    assume(min(source, target) * 2 >= limit and source + target > limit)
    kept_source, kept_target = cut_pair(source, target, limit)
    assert abs(kept_target - limit * target / (source + target)) <= 1
    assert abs(kept_source - limit * source / (source + target)) <= 1


@given(lengths, lengths, limits)
def test_a_segment_below_half_the_limit_is_never_cut(source: int, target: int, limit: int) -> None:
    kept_source, kept_target = cut_pair(source, target, limit)
    if target * 2 < limit:
        assert kept_target == target
    elif source * 2 < limit:
        assert kept_source == source


def test_nothing_is_cut_at_exactly_the_limit() -> None:
    """The proportional case divides floats; its rounding must never cost an example that fits."""
    for limit in range(1, 400):
        for source in range(limit + 1):
            assert cut_pair(source, limit - source, limit) == (source, limit - source)


# --- a conversation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segments", "limit", "kept"),
    [
        ([5, 5, 5, 5, 5, 5], 12, [5, 5, 1, 1, 0, 0]),
        ([10, 30, 10, 30], 20, [5, 15, 0, 0]),
        ([10, 5, 10, 30], 35, [10, 5, 5, 15]),
        ([10, 5, 10, 30], 15, [10, 5, 0, 0]),
        ([10, 5, 10, 30], 55, [10, 5, 10, 30]),
        ([0, 0, 4, 4], 8, [0, 0, 4, 4]),
        ([5, 5], 0, [0, 0]),
        ([], 8, []),
    ],
)
def test_turns_are_cut_in_order_and_the_last_ones_go(segments: list[int], limit: int, kept: list[int]) -> None:
    assert cut_turns(segments, limit) == kept


@pytest.mark.parametrize(
    ("segments", "limit", "kept"),
    [
        ([5, 5, 5, 5, 5, 5], 12, [0, 0, 1, 1, 5, 5]),
        ([10, 5, 10, 30], 35, [0, 0, 10, 25]),
        ([10, 5, 10, 30], 50, [7, 3, 10, 30]),
        ([10, 5, 10, 30], 55, [10, 5, 10, 30]),
    ],
)
def test_with_mask_history_the_last_turn_stays_and_the_first_ones_go(
    segments: list[int], limit: int, kept: list[int]
) -> None:
    assert cut_turns(segments, limit, from_end=True) == kept


@pytest.mark.parametrize(
    ("limit", "kept"), [(56, [10, 5, 10, 30]), (35, [10, 5, 5, 14]), (16, [10, 5, 0, 0]), (1, [0, 0, 0, 0])]
)
def test_a_reserved_token_is_taken_off_before_the_first_turn(limit: int, kept: list[int]) -> None:
    assert cut_turns([10, 5, 10, 30], limit, reserved_tokens=1) == kept


@given(conversations, st.integers(0, 120), st.booleans(), st.integers(0, 1))
def test_a_conversation_spends_the_whole_cutoff_and_no_more(
    segments: list[int], limit: int, from_end: bool, reserved: int
) -> None:
    kept = cut_turns(segments, limit, from_end=from_end, reserved_tokens=reserved)
    assert len(kept) == len(segments)
    assert all(0 <= after <= before for after, before in zip(kept, segments, strict=True))
    assert sum(kept) == min(max(limit - reserved, 0), sum(segments))


@given(conversations, st.integers(0, 120), st.booleans())
def test_nothing_stays_behind_the_first_turn_that_was_cut(segments: list[int], limit: int, from_end: bool) -> None:
    """So that the model never sees a turn whose history has a gap."""
    kept = cut_turns(segments, limit, from_end=from_end)
    turns = [(kept[at : at + 2], segments[at : at + 2]) for at in range(0, len(segments), 2)]
    if from_end:
        turns.reverse()
    cut_at = next((at for at, (after, before) in enumerate(turns) if after != before), len(turns))
    assert all(after == [0, 0] for after, _ in turns[cut_at + 1 :])


# --- a preference pair ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "limit", "kept"),
    [
        (20, 60, 5, 40, (10, 30, 5)),
        (10, 5, 30, 20, (5, 5, 15)),
        (10, 30, 30, 20, (5, 15, 15)),
        (100, 5, 3, 20, (15, 5, 3)),
        (10, 5, 10, 20, (10, 5, 10)),
    ],
)
def test_the_longer_answer_decides_how_much_prompt_stays(
    prompt: int, chosen: int, rejected: int, limit: int, kept: tuple[int, int, int]
) -> None:
    assert cut_preference(prompt, chosen, rejected, limit) == kept


@given(lengths, lengths, lengths, limits)
def test_a_shorter_answer_changes_nothing_of_the_prompt_and_the_longer_one(
    prompt: int, one: int, other: int, limit: int
) -> None:
    long, short = max(one, other), min(one, other)
    source, first, second = cut_preference(prompt, long, short, limit)
    assert (source, second, first) == cut_preference(prompt, short, long, limit)
    assert (source, first, 0) == cut_preference(prompt, long, 0, limit)
    assert source + first <= limit
    assert second in (short, first)
