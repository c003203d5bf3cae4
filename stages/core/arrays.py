"""Small numpy helpers that several stages share: sums over groups, gathers over ranges, growing indices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def sums(values: NDArray[np.int32], borders: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of each run of values, in 64 bits.

    Args:
        values (NDArray[int32], [n]): All runs end to end.
        borders (NDArray[int64], [runs + 1]): Where the runs start, ascending, and where the last one ends; runs may be
            empty.

    Returns:
        NDArray[int64], [runs].
    """
    running = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=running[1:])
    return np.asarray(running[borders[1:]] - running[borders[:-1]])


def gather(source: NDArray[np.int32], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """Runs of `source` joined: run i is source[starts[i] : starts[i] + lengths[i]].

    Args:
        source (NDArray[int32], [n]): What the runs are taken from.
        starts (NDArray[int64], [runs]): First place of each run; runs may overlap and repeat.
        lengths (NDArray[int64], [runs]): Length of each run, 0 or more.

    Returns:
        NDArray[int32], [sum of lengths].

    Raises:
        IndexError: A run leaves the source.
    """
    total = int(lengths.sum())
    if total == 0:
        return np.empty(0, dtype=np.int32)
    ends = np.cumsum(lengths)
    shift = np.repeat(starts - (ends - lengths), lengths)
    shift += np.arange(total, dtype=np.int64)
    result: NDArray[np.int32] = source[shift]
    return result
