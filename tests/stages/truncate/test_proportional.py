"""Truncation keeps what LLaMA-Factory keeps, to the token, and never more than `cutoff_len`."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stages.truncate.proportional import cut_pair, cut_preference, cut_turns

lengths = st.integers(0, 80)
limits = st.integers(0, 120)


def reference_pair(source: int, target: int, limit: int) -> tuple[int, int]:
    """The rule as research note and upstream state it, case by case."""
    if 2 * target < limit:
        allowed = limit
    elif 2 * source < limit:
        allowed = limit - source
    else:
        allowed = int(limit * (target / (source + target)))
    kept_target = min(allowed, target)
    return min(source, max(limit - kept_target, 0)), kept_target


def reference_turns(segments: list[int], limit: int, from_end: bool, reserved: int) -> list[int]:
    pairs = [(segments[at], segments[at + 1]) for at in range(0, len(segments), 2)]
    if from_end:
        pairs.reverse()
    kept, total = [], reserved
    for source, target in pairs:
        if total >= limit:
            kept.append((0, 0))
            continue
        pair = reference_pair(source, target, limit - total)
        total += sum(pair)
        kept.append(pair)
    if from_end:
        kept.reverse()
    return [segment for pair in kept for segment in pair]


@st.composite
def conversations(draw: st.DrawFn) -> list[int]:
    return [draw(lengths) for _ in range(2 * draw(st.integers(0, 6)))]


@given(lengths, lengths, st.integers(1, 200))
@example(10, 30, 20)
@example(0, 0, 1)
def test_a_pair_is_cut_as_upstream_cuts_it(source: int, target: int, limit: int) -> None:
    assert cut_pair(source, target, limit) == reference_pair(source, target, limit)


@given(lengths, lengths, st.integers(1, 200))
def test_a_pair_never_exceeds_the_limit_and_never_grows(source: int, target: int, limit: int) -> None:
    kept_source, kept_target = cut_pair(source, target, limit)
    assert 0 <= kept_source <= source
    assert 0 <= kept_target <= target
    assert kept_source + kept_target <= limit
    if source + target <= limit:
        assert (kept_source, kept_target) == (source, target)


@pytest.mark.parametrize(
    ("source", "target", "limit", "kept"),
    [
        (10, 30, 20, (5, 15)),  # both long: in proportion
        (100, 5, 20, (15, 5)),  # a short answer survives whole, the prompt pays
        (5, 100, 20, (5, 15)),  # a short prompt survives whole, the answer pays
        (50, 50, 3, (2, 1)),
        (0, 50, 10, (0, 10)),
        (50, 0, 10, (10, 0)),
    ],
)
def test_examples_of_the_rule(source: int, target: int, limit: int, kept: tuple[int, int]) -> None:
    assert cut_pair(source, target, limit) == kept


def test_nothing_is_cut_at_exactly_the_limit() -> None:
    """The proportional case divides floats; its rounding must never cost an example that fits."""
    for limit in range(1, 400):
        for source in range(limit + 1):
            assert cut_pair(source, limit - source, limit) == (source, limit - source)


@given(conversations(), limits, st.booleans(), st.integers(0, 1))
def test_turns_are_cut_as_upstream_cuts_them(segments: list[int], limit: int, from_end: bool, reserved: int) -> None:
    got = cut_turns(segments, limit, from_end=from_end, reserved_tokens=reserved)
    assert got == reference_turns(segments, limit, from_end, reserved)


@given(conversations(), limits, st.booleans(), st.integers(0, 1))
def test_a_conversation_never_exceeds_the_cutoff(
    segments: list[int], limit: int, from_end: bool, reserved: int
) -> None:
    kept = cut_turns(segments, limit, from_end=from_end, reserved_tokens=reserved)
    assert len(kept) == len(segments)
    assert all(0 <= after <= before for after, before in zip(kept, segments, strict=True))
    assert sum(kept) + reserved <= max(limit, reserved)
    if sum(segments) + reserved <= limit:
        assert kept == segments


def test_turns_go_from_the_end_and_with_mask_history_from_the_start() -> None:
    assert cut_turns([5, 5, 5, 5, 5, 5], 12) == [5, 5, 1, 1, 0, 0]
    assert cut_turns([5, 5, 5, 5, 5, 5], 12, from_end=True) == [0, 0, 1, 1, 5, 5]


def test_a_zero_cutoff_keeps_nothing() -> None:
    assert cut_turns([5, 5], 0) == [0, 0]


@given(lengths, lengths, lengths, st.integers(1, 200))
def test_a_preference_pair_is_cut_by_its_longer_answer(prompt: int, chosen: int, rejected: int, limit: int) -> None:
    source, first, second = cut_preference(prompt, chosen, rejected, limit)
    want_source, want_target = reference_pair(prompt, max(chosen, rejected), limit)
    assert (source, first, second) == (want_source, min(chosen, want_target), min(rejected, want_target))
    assert source + max(first, second) <= limit


def test_a_long_chosen_answer_shrinks_the_prompt_of_a_short_rejected_one() -> None:
    assert cut_preference(20, 60, 5, 40) == (10, 30, 5)
