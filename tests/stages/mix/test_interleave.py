"""Mixing takes what was requested, in LLaMA-Factory's order, and loses or repeats records only where it says so."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from registry.errors import UsageFault
from stages.mix import MIXERS, MOST_DRAWS, MixOptions
from stages.mix.interleave import mix

SIZES = (10_000, 1_000, 100)
PROBS = (0.5, 0.3, 0.2)
UPSTREAM = {
    "interleave_under": "first_exhausted",
    "interleave_over": "all_exhausted",
    "interleave_once": "all_exhausted_without_replacement",
}
# (strategy, with shares): rows, sha256 of sources and positions; made with datasets 5.2.0 and numpy 2
ORDERS = {
    ("interleave_under", True): (527, "8f5e8f31159197ef"),
    ("interleave_under", False): (300, "a792688a1caa5cd3"),
    ("interleave_over", True): (20113, "e3ba34725721bca8"),
    ("interleave_over", False): (30000, "cda3a0cd31a17677"),
    ("interleave_once", True): (11100, "50abc16790ad1306"),
    ("interleave_once", False): (11100, "fc9b21206ba6098a"),
}


def digest(source: NDArray[np.int32], position: NDArray[np.int64]) -> str:
    return hashlib.sha256(source.astype("<i4").tobytes() + position.astype("<i8").tobytes()).hexdigest()[:16]


sizes_of_sources = st.lists(st.integers(1, 60), min_size=1, max_size=5)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[int], tuple[float, ...] | None]:
    sizes = draw(sizes_of_sources)
    if draw(st.booleans()):
        return sizes, None
    weights = [draw(st.integers(1, 20)) for _ in sizes]
    return sizes, tuple(weight / sum(weights) for weight in weights)


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_shares", [True, False])
@pytest.mark.parametrize("strategy", UPSTREAM)
def test_the_order_for_a_seed_never_changes(strategy: str, with_shares: bool) -> None:
    source, position = mix(SIZES, MixOptions(strategy, PROBS if with_shares else None))
    assert (len(source), digest(source, position)) == ORDERS[strategy, with_shares]


@pytest.mark.parametrize("seed", [0, 42, 20260101])
@pytest.mark.parametrize("probs", [PROBS, (0.3, 0.1, 0.6), None])
@pytest.mark.parametrize("strategy", UPSTREAM)
def test_the_order_is_that_of_datasets(strategy: str, probs: tuple[float, ...] | None, seed: int) -> None:
    datasets = pytest.importorskip("datasets")
    sets = [datasets.Dataset.from_dict({"row": [[at, row] for row in range(size)]}) for at, size in enumerate(SIZES)]
    want = datasets.interleave_datasets(
        sets, probabilities=list(probs) if probs else None, seed=seed, stopping_strategy=UPSTREAM[strategy]
    )
    source, position = mix(SIZES, MixOptions(strategy, probs, seed))
    assert np.array_equal(np.stack([source, position], axis=1), want.with_format("numpy")[:]["row"])


def test_shuffling_gives_the_order_of_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    want = datasets.Dataset.from_dict({"row": list(range(1000))}).shuffle(seed=7)
    assert mix([1000], MixOptions(seed=7, shuffle=True))[1].tolist() == list(want["row"])


def test_sources_take_turns_where_no_shares_are_given() -> None:
    source, position = mix([1, 3], MixOptions("interleave_over"))
    assert list(zip(source.tolist(), position.tolist(), strict=True)) == [
        (0, 0),
        (1, 0),
        (0, 0),
        (1, 1),
        (0, 0),
        (1, 2),
    ]
    source, position = mix([1, 3], MixOptions("interleave_once"))
    assert list(zip(source.tolist(), position.tolist(), strict=True)) == [(0, 0), (1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize("strategy", MIXERS)
def test_one_data_set_alone_is_taken_as_it_is(strategy: str) -> None:
    source, position = mix([5], MixOptions(strategy, None if strategy == "concat" else (1.0,)))
    assert (source.tolist(), position.tolist()) == ([0] * 5, list(range(5)))


def test_drawing_by_the_thousand_and_by_block_is_the_same_stream() -> None:
    """`datasets` draws a thousand at a time, we draw more; numpy must not care."""
    few, many = np.random.default_rng(3), np.random.default_rng(3)
    want = np.concatenate([few.choice(3, size=1000, p=PROBS) for _ in range(64)])
    assert np.array_equal(many.choice(3, size=64_000, p=PROBS), want)


# --- nothing lost, nothing twice, the right end -----------------------------------------------------------------------


@given(mixtures(), seeds, st.sampled_from(["concat", "interleave_once"]), st.booleans())
def test_concat_and_once_lose_nothing_and_repeat_nothing(
    mixture: tuple[list[int], tuple[float, ...] | None], seed: int, strategy: str, shuffle: bool
) -> None:
    sizes, probs = mixture
    probs = None if strategy == "concat" else probs
    source, position = mix(sizes, MixOptions(strategy, probs, seed, shuffle=shuffle))
    rows = sorted(zip(source.tolist(), position.tolist(), strict=True))
    assert rows == [(at, row) for at, size in enumerate(sizes) for row in range(size)]


@given(mixtures(), seeds)
def test_under_ends_with_the_last_record_of_the_first_source_to_run_out(
    mixture: tuple[list[int], tuple[float, ...] | None], seed: int
) -> None:
    sizes, probs = mixture
    source, position = mix(sizes, MixOptions("interleave_under", probs, seed))
    rows = np.bincount(source, minlength=len(sizes)).tolist()
    assert all(took <= size for took, size in zip(rows, sizes, strict=True))
    if probs is not None:  # the row that ends it is the last record of its source
        assert position[-1] == sizes[source[-1]] - 1
        assert sum(took == size for took, size in zip(rows, sizes, strict=True)) == 1
    else:
        assert rows == [min(sizes)] * len(sizes)


@given(mixtures(), seeds)
def test_over_ends_when_every_source_was_used_up(
    mixture: tuple[list[int], tuple[float, ...] | None], seed: int
) -> None:
    sizes, probs = mixture
    source, position = mix(sizes, MixOptions("interleave_over", probs, seed))
    rows = np.bincount(source, minlength=len(sizes)).tolist()
    assert all(took >= size for took, size in zip(rows, sizes, strict=True))
    if probs is not None:
        last = int(source[-1])
        assert rows[last] == sizes[last], "the source that ends it has run out just now"
    for at, size in enumerate(sizes):  # a source starts again only after its last record
        assert position[source == at].tolist() == [row % size for row in range(rows[at])]


@given(mixtures(), seeds, st.sampled_from(sorted(MIXERS)))
def test_the_same_seed_gives_the_same_order(
    mixture: tuple[list[int], tuple[float, ...] | None], seed: int, strategy: str
) -> None:
    sizes, probs = mixture
    options = MixOptions(strategy, None if strategy == "concat" else probs, seed, shuffle=True)
    first, second = mix(sizes, options), mix(sizes, options)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_two_million_rows_are_mixed_in_one_go() -> None:
    source, _ = mix([1_000_000, 1_000_000], MixOptions("interleave_once", (0.6, 0.4)))
    assert len(source) == 2_000_000


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_wrong_option_is_a_fault_of_the_user() -> None:
    with pytest.raises(UsageFault, match="seed: -1 is not between"):
        mix(SIZES, MixOptions(seed=-1))


@pytest.mark.parametrize("strategy", UPSTREAM)
def test_an_empty_source_is_named(strategy: str) -> None:
    with pytest.raises(UsageFault, match="dataset: books has no record to mix"):
        mix([3, 0], MixOptions(strategy), ["web", "books"])


def test_concat_takes_an_empty_source_as_nothing() -> None:
    assert mix([2, 0, 1], MixOptions())[0].tolist() == [0, 0, 2]


def test_a_mixture_that_would_not_end_is_refused() -> None:
    probs = (1 - 1e-8, 1e-8)
    with pytest.raises(UsageFault, match="books has 100 records at a share of 1e-08") as caught:
        mix([1000, 100], MixOptions("interleave_over", probs), ["web", "books"])
    assert f"{MOST_DRAWS:,}" in caught.value.hint
    assert len(mix([1000, 100], MixOptions("interleave_under", probs))[0]) == 1000
