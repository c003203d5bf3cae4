"""Next fit in input order: keeps the order, and fills less (about 82 % on chat data)."""

from __future__ import annotations

from collections.abc import Sequence


def next_fit(lengths: Sequence[int], limit_tokens: int) -> list[list[int]]:
    """Rows of example indices in input order, none longer than the limit; no length may exceed it. See `pack`."""
    rows: list[list[int]] = []
    free = -1
    for index, tokens in enumerate(lengths):
        if tokens > free:
            rows.append([])
            free = limit_tokens
        rows[-1].append(index)
        free -= tokens
    return rows
