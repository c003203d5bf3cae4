"""The records of a source and the validation split are those of numpy and `datasets`; none stands twice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UsageFault
from stages.mix.subset import sample, split

# ten records at val_size 0.25
SPLIT = ([7, 3, 2, 4, 9, 1, 8], [5, 6, 0])


def rng(seed: int = 42) -> np.random.RandomState:
    return np.random.RandomState(seed)


seeds = st.integers(0, 2**32 - 1)


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
