"""Which records of one source are taken, and which of all of them validate. Indices in, indices out.

    sample   source a: 0 1 2 3 4   num_samples 3 ->  4 1 3           record indices, one call a source
    split    8 rows, val_size 2    ->  train 5 0 4 1 7 6 | validation 2 3

The same seed gives the order that LLaMA-Factory gets from numpy and `datasets` (train_test_split).
"""

from __future__ import annotations

import math

import numpy as np

from registry.errors import UsageFault

from . import SPLIT_OFF, MixOptions, Positions, problems


def sample(records: int, num_samples: int | None, max_samples: int | None, rng: np.random.RandomState) -> Positions:
    """Record indices of one source, in the order in which LLaMA-Factory takes them.

    Args:
        records: How many records the source has; without any the result is empty.
        num_samples: N: a random permutation cut to N; when N exceeds the records, all of them once and then
            N - records drawn with replacement. None: all records in order.
        max_samples: The first so many of the result; None: all.
        rng: Stands for numpy's global state, which upstream seeds once: give one `RandomState(seed)` to all sources in
            their order, those of `eval_dataset` last.

    Returns:
        NDArray[int64], [taken].

    Raises:
        UsageFault: Either count is below 1.
    """
    for name, count in (("num_samples", num_samples), ("max_samples", max_samples)):
        if count is not None and count < 1:
            raise UsageFault(f"{name}: {count} takes no record; leave the key out to take all")
    if num_samples is None or not records:
        taken = np.arange(records, dtype=np.int64)
    else:
        taken = rng.permutation(records)[:num_samples].astype(np.int64)
        if num_samples > records:
            again = rng.choice(records, num_samples - records).astype(np.int64)
            taken = np.concatenate([taken, again])
    return taken if max_samples is None else taken[:max_samples]


def split(total: int, val_size: float, seed: int) -> tuple[Positions, Positions]:
    """Which positions train and which validate, each in the order of `train_test_split` of `datasets`.

    Args:
        total: How many positions there are; none give two empty sides.
        val_size: Up to 1e-6 is off (then train is 0 .. total - 1 in order); below 1 a share, rounded up; above 1 a
            count, its fraction cut off.
        seed: 0 to 2**32 - 1.

    Returns:
        Train and validation positions (NDArray[int64], [train] and [validation]), together every position once.

    Raises:
        UsageFault: val_size is negative or exactly 1, or leaves a side empty.
    """
    wrong = problems(MixOptions(seed=seed, val_size=val_size), 1)
    if wrong:
        raise UsageFault(wrong)
    if val_size <= SPLIT_OFF or not total:
        return np.arange(total, dtype=np.int64), np.empty(0, dtype=np.int64)
    validation = int(val_size) if val_size > 1 else math.ceil(val_size * total)
    if validation >= total:
        raise UsageFault(
            f"val_size: {val_size:g} takes {validation} of {total} records for validation and leaves none to train on",
            hint="give a smaller share or count",
        )
    order = np.random.default_rng(seed).permutation(total).astype(np.int64, copy=False)
    return order[validation:], order[:validation]
