"""Small numpy helpers that several stages share: sums over groups, gathers over ranges, growing indices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def sums(values: NDArray[np.int32], borders: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of each run of `values`; runs may be empty."""
    running = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=running[1:])
    return np.asarray(running[borders[1:]] - running[borders[:-1]])


def gather(source: NDArray[np.int32], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """Runs of `source` joined: run i is source[starts[i] : starts[i] + lengths[i]]."""
    total = int(lengths.sum())
    if total == 0:
        return np.empty(0, dtype=np.int32)
    ends = np.cumsum(lengths)
    shift = np.repeat(starts - (ends - lengths), lengths)
    shift += np.arange(total, dtype=np.int64)
    result: NDArray[np.int32] = source[shift]
    return result
