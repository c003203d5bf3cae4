"""The ledger: records and tokens read, kept, rejected and lost by reason, a source at a time; it has to close."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.core.arrays import Index
from stages.truncate.cut_findings import DROPPED, KEPT


@dataclass
class SourceLedger:
    """The account of one source, in records and tokens (contract.md `ledger`)."""

    read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    not_sampled: int = 0
    repeated: int = 0
    examples: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    tokens_in: int = 0
    tokens_lost: Counter[str] = field(default_factory=Counter)
    trained_tokens_in: int = 0
    trained_tokens_lost: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    trained_tokens: int = 0

    def as_dict(self) -> dict[str, object]:
        """As it stands in the manifest."""
        return {
            name: dict(sorted(value.items())) if isinstance(value := getattr(self, name), Counter) else value
            for name in self.__dataclass_fields__
        }

    def problems(self) -> list[str]:
        """What does not add up; empty when the ledger closes."""
        wrong = []
        left = self.read - sum(self.rejected.values()) - self.not_sampled + self.repeated
        right = self.examples + sum(self.dropped.values())
        if left != right:
            wrong.append(f"records: {left} should be {right}")
        if self.tokens_in - sum(self.tokens_lost.values()) != self.tokens:
            wrong.append(f"tokens: {self.tokens_in} - {dict(self.tokens_lost)} is not {self.tokens}")
        if self.trained_tokens_in - sum(self.trained_tokens_lost.values()) != self.trained_tokens:
            wrong.append(
                f"trained: {self.trained_tokens_in} - {dict(self.trained_tokens_lost)} is not {self.trained_tokens}"
            )
        return wrong


def total(ledgers: Sequence[SourceLedger]) -> SourceLedger:
    """The sum of several accounts."""
    result = SourceLedger()
    for ledger in ledgers:
        for name in SourceLedger.__dataclass_fields__:
            value = getattr(ledger, name)
            if isinstance(value, Counter):
                getattr(result, name).update(value)
            else:
                setattr(result, name, getattr(result, name) + value)
    return result


class Lengths(Protocol):
    """What an account is made of, one item an example (all [examples]).

    source: whose it is. tokens_in, trained_in: before the cut; tokens, trained: after it. fate: KEPT, REJECTED or
    DROPPED, of `stages.truncate.cut_findings`.
    """

    source: NDArray[np.int32]
    tokens_in: NDArray[np.int32]
    trained_in: NDArray[np.int32]
    tokens: NDArray[np.int32]
    trained: NDArray[np.int32]
    fate: NDArray[np.uint8]


def ledgers(
    table: Lengths,
    orders: Mapping[str, Index],
    read: Sequence[int],
    rejected: Sequence[Counter[str]],
    record_of: Index | None = None,
) -> list[SourceLedger]:
    """The account of each source. `repeated` counts what stands in the rows more than once, by sampling or because
    `overlong: split` made several examples of it.

    Args:
        table: Every example, those that were dropped or rejected for their length included.
        orders: Indices of the kept examples of each split, repeats included (int64, [examples of the split]).
        read: Records of each source.
        rejected: Records of each source that were rejected, by rule.
        record_of: The record of each example in its source (int64, [examples]); None = every example is a record of its
            own.
    """
    if record_of is None:
        record_of = np.arange(len(table.source))
    used = np.zeros(len(table.source), dtype=np.int64)
    for order in orders.values():
        used += np.bincount(order, minlength=len(used)) if len(order) else 0
    closed = []
    for number in range(len(read)):
        ledger = SourceLedger(read=read[number], rejected=Counter(rejected[number]))
        mine = table.source == number
        kept = mine & (table.fate == KEPT)
        times = used[kept]
        dropped = int(np.count_nonzero(mine & (table.fate == DROPPED)))
        ledger.examples = int(times.sum())
        if dropped:
            ledger.dropped["length.dropped"] = dropped
        there = kept & (used > 0) | mine & (table.fate == DROPPED)
        distinct = len(np.unique(record_of[there]))
        ledger.repeated = ledger.examples + dropped - distinct
        ledger.not_sampled = ledger.read - sum(ledger.rejected.values()) - distinct
        for name, before, after in (
            ("tokens", table.tokens_in, table.tokens),
            ("trained_tokens", table.trained_in, table.trained),
        ):
            gone = mine & (table.fate == DROPPED)
            lost = getattr(ledger, f"{name}_lost")
            come_in = int((before[kept] * times).sum() + before[gone].sum())
            come_out = int((after[kept] * times).sum())
            cut = int(((before[kept] - after[kept]) * times).sum())
            setattr(ledger, f"{name}_in", come_in)
            setattr(ledger, name, come_out)
            if cut:
                lost["cutoff"] = cut
            if dropped:
                lost["length.dropped"] = int(before[gone].sum())
        closed.append(ledger)
    return closed


PERCENTILES = (50, 90, 95, 99)


def spread(values: NDArray[Any]) -> dict[str, float]:
    """Least, mean, percentiles (nearest rank) and most of some lengths; zeros when there are none.

    Args:
        values: Whole numbers, [n].
    """
    if not len(values):
        return {"min": 0, "mean": 0.0, **{f"p{share}": 0 for share in PERCENTILES}, "max": 0}
    ordered = np.sort(values)
    ranks = [max(math.ceil(share / 100 * len(ordered)) - 1, 0) for share in PERCENTILES]
    return {
        "min": int(ordered[0]),
        "mean": round(float(values.mean()), 1),
        **{f"p{share}": int(ordered[rank]) for share, rank in zip(PERCENTILES, ranks, strict=True)},
        "max": int(ordered[-1]),
    }
