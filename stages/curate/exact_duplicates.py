"""Exact duplicates: records of equal content, by their 64-bit hashes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

_MANY = 200_000  # above this numpy looks for the copies


def copies(digests: Sequence[array[int]]) -> list[tuple[int, int]]:
    """(position, first position) of every repeated digest; positions count over all arrays in order."""
    total = sum(map(len, digests))
    if total > _MANY:
        return _copies_numpy(digests)
    first: dict[int, int] = {}
    found = []
    position = 0
    for part in digests:
        for digest in part:
            seen = first.setdefault(digest, position)
            if seen != position:
                found.append((position, seen))
            position += 1
    return found


def _copies_numpy(digests: Sequence[array[int]]) -> list[tuple[int, int]]:
    import numpy as np

    every = np.concatenate([np.frombuffer(part, dtype=np.uint64) for part in digests if len(part)])
    order = np.argsort(every, kind="stable")
    ranked = every[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    sizes = np.diff(np.append(starts, len(ranked)))
    firsts = np.repeat(order[starts], sizes)
    again = order != firsts
    pairs = np.stack([order[again], firsts[again]], axis=1)
    return [(int(position), int(first)) for position, first in pairs[np.argsort(pairs[:, 0], kind="stable")]]
