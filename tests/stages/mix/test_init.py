"""Every mistake in the options of a mixture is explained before any record is read."""

from __future__ import annotations

import math

import pytest

from stages.mix import MixOptions, problems, source_name


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
    (problem,) = problems(options, 3)
    assert says in problem


def test_all_mistakes_come_at_once() -> None:
    assert len(problems(MixOptions("interleave_under", (0.5, 0.1), seed=-1, max_samples=0, val_size=-1), 3)) == 5


def test_right_options_have_no_problems() -> None:
    assert problems(MixOptions("interleave_under", (0.5, 0.5, 0.0), max_samples=1, val_size=0.1), 3) == []
    assert problems(MixOptions("interleave_over", (1 / 3, 1 / 3, 1 / 3)), 3) == []


def test_shares_may_miss_1_by_no_more_than_numpy_forgives() -> None:
    assert problems(MixOptions("interleave_under", (0.5, 0.5 + 1e-9)), 2) == []
    assert problems(MixOptions("interleave_under", (0.5, 0.5 + 1e-7)), 2)


def test_a_source_without_a_name_is_counted_from_one() -> None:
    assert [source_name(["web"], at) for at in (0, 1)] == ["web", "source 2"]
