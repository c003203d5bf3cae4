"""Mixing takes what was requested, in LLaMA-Factory's order, and loses or repeats records only where it says so."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from registry.errors import UsageFault
from stages.mix import MIXERS, MOST_DRAWS, MixOptions, problems
from stages.mix.interleave import mix
from stages.mix.subset import sample, split

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
# ten records at val_size 0.25
SPLIT = ([7, 3, 2, 4, 9, 1, 8], [5, 6, 0])


def digest(source: NDArray[np.int32], position: NDArray[np.int64]) -> str:
    return hashlib.sha256(source.astype("<i4").tobytes() + position.astype("<i8").tobytes()).hexdigest()[:16]


def rng(seed: int = 42) -> np.random.RandomState:
    return np.random.RandomState(seed)


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


# --- sampling ---------------------------------------------------------------------------------------------------------


def test_sampling_follows_numpys_global_state_over_the_sources() -> None:
    np.random.seed(42)
    want = []
    for records, requested in ((10, 4), (3, 7)):
        taken = np.random.permutation(records)[:requested]
        extra = np.random.choice(records, requested - len(taken)) if requested > len(taken) else []
        want.append([*taken.tolist(), *(int(row) for row in extra)])
    state = rng()
    assert [sample(10, 4, None, state).tolist(), sample(3, 7, None, state).tolist()] == want


def test_max_samples_takes_the_head() -> None:
    assert sample(10, None, 3, rng()).tolist() == [0, 1, 2]
    assert sample(2, None, 3, rng()).tolist() == [0, 1]
    assert sample(10, 6, 3, rng()).tolist() == sample(10, 6, None, rng())[:3].tolist()


def test_taking_all_draws_nothing_from_the_generator() -> None:
    state = rng()
    assert sample(5, None, None, state).tolist() == [0, 1, 2, 3, 4]
    assert state.randint(1000) == rng().randint(1000)


@pytest.mark.parametrize(("requested", "most"), [(0, None), (None, 0), (-1, None), (None, -5)])
def test_sampling_nothing_is_a_mistake(requested: int | None, most: int | None) -> None:
    with pytest.raises(UsageFault, match="takes no record"):
        sample(10, requested, most, rng())


# --- splitting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "val_size"), [(10, 0.1), (11, 0.1), (1000, 0.333), (1000, 7.0), (1000, 7.9), (2, 0.5)]
)
def test_the_split_is_that_of_datasets(total: int, val_size: float) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"row": list(range(total))})
    want = rows.train_test_split(test_size=int(val_size) if val_size > 1 else val_size, seed=42)
    train, validation = split(total, val_size, 42)
    assert train.tolist() == list(want["train"]["row"])
    assert validation.tolist() == list(want["test"]["row"])


def test_the_split_for_a_seed_never_changes() -> None:
    train, validation = split(10, 0.25, 42)
    assert (train.tolist(), validation.tolist()) == SPLIT


@given(st.integers(0, 300), st.floats(0, 0.999) | st.integers(2, 400).map(float), seeds)
def test_a_split_is_a_partition(total: int, val_size: float, seed: int) -> None:
    try:
        train, validation = split(total, val_size, seed)
    except UsageFault:
        assert (int(val_size) if val_size > 1 else math.ceil(val_size * total)) >= total > 0
        return
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(total))
    assert len(train) or not total
    if val_size <= 1e-6:
        assert train.tolist() == list(range(total)), "without a split the order stays"


@pytest.mark.parametrize(
    ("total", "val_size", "says"),
    [
        (10, 10.0, "takes 10 of 10 records"),
        (10, 11.0, "leaves none to train on"),
        (1, 0.5, "takes 1 of 1"),
        (10, 1.0, "1 is a share and leaves nothing"),
        (10, -0.1, "neither a share"),
        (10, math.nan, "neither a share"),
        (10, math.inf, "neither a share"),
    ],
)
def test_a_split_that_cannot_be_made_is_explained(total: int, val_size: float, says: str) -> None:
    with pytest.raises(UsageFault, match=says):
        split(total, val_size, 42)


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (MixOptions("interleave_undr"), 'did you mean "interleave_under"'),
        (MixOptions("concat", (0.5, 0.3, 0.2)), "concat takes every record"),
        (MixOptions("interleave_under", (0.5, 0.5)), "2 shares for 3 data sets"),
        (MixOptions("interleave_under", (0.5, 0.3, 0.1)), "add up to 0.9, not to 1"),
        (MixOptions("interleave_under", (1.2, -0.1, -0.1)), "between 0 and 1"),
        (MixOptions("interleave_under", (math.nan, 0.5, 0.5)), "between 0 and 1"),
        (MixOptions("interleave_over", (0.5, 0.5, 0.0)), "share 0 never does"),
        (MixOptions("interleave_once", (0.5, 0.5, 0.0)), "share 0 never does"),
        (MixOptions(seed=-1), "seed: -1"),
        (MixOptions(seed=2**32), "seed: 4294967296"),
        (MixOptions(max_samples=0), "max_samples: 0 takes no record"),
        (MixOptions(val_size=1.0), "val_size: 1"),
    ],
)
def test_a_wrong_option_is_explained(options: MixOptions, says: str) -> None:
    with pytest.raises(UsageFault, match=says.replace("(", r"\(")):
        mix(SIZES, options)


def test_all_mistakes_come_at_once() -> None:
    assert len(problems(MixOptions("interleave_under", (0.5, 0.1), seed=-1, max_samples=0, val_size=-1), 3)) == 5


def test_right_options_have_no_problems() -> None:
    assert problems(MixOptions("interleave_under", (0.5, 0.5, 0.0), max_samples=1, val_size=0.1), 3) == []
    assert problems(MixOptions("interleave_over", (1 / 3, 1 / 3, 1 / 3)), 3) == []


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
