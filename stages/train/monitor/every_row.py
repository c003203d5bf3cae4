"""Each row once an epoch, whatever the number of processes: what fills no whole round is not filled up with other rows.

    8 rows' batches, 3 processes     p0  p1  p2
                                      0   1   2
                                      3   4   5
                                      6   7   -     a blank batch: computed, so that all keep step, and counts nothing

The batches are those that one process would see, in the same order; one of the last group of a step counts as much as
it would there (`share`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset, RandomSampler, Sampler

SHARE, ROUND_SHARE, UNEVEN = "prep_share", "prep_round_share", "prep_uneven"
_BLANK = -1


@dataclass(frozen=True)
class Layout:
    """How an epoch of `rows` is laid out over processes: `rows_at_once` a batch, `accumulation` batches a step."""

    rows: int
    rows_at_once: int
    processes: int
    accumulation: int = 1

    @property
    def batches(self) -> int:
        """Batches with a row in them."""
        return -(-self.rows // self.rows_at_once)

    @property
    def padded(self) -> int:
        """Rows with the blank ones, a whole number of rounds."""
        return -(-self.batches // self.processes) * self.processes * self.rows_at_once

    @property
    def shares(self) -> tuple[int, float]:
        """(first row of the last step's rows, what a batch of them counts); the share is 1 without a blank batch."""
        together = self.processes * self.accumulation
        before = self.batches // together * together
        real = self.batches - before
        rounds = -(-real // self.processes)
        return before * self.rows_at_once, rounds * self.processes / real if real else 1.0

    @property
    def round_shares(self) -> tuple[int, float]:
        """The same for the last round alone, for what is averaged over the processes in each batch."""
        before = self.batches // self.processes * self.processes
        real = self.batches - before
        return before * self.rows_at_once, self.processes / real if real else 1.0

    @property
    def uneven_from(self) -> int:
        """First row of the last round when its batches are not all as long; else none."""
        together = self.processes * self.rows_at_once
        return self.rows // together * together if self.rows % together else self.padded


class WholeEpoch(Sampler[tuple[int, int]]):  # type: ignore[misc]  # torch is not followed
    """(row, place in the epoch) in the order of another sampler, blank ones after the last.

    epoch: the run's, asked for when a pass begins. What accelerate sets does not arrive after a resume, whose data
    loader skips batches through another layer.
    """

    def __init__(self, inner: Any, layout: Layout, epoch: Callable[[], int]) -> None:
        self.inner = inner
        self.layout = layout
        self.epoch = epoch

    def __len__(self) -> int:
        return self.layout.padded

    def __iter__(self) -> Iterator[tuple[int, int]]:
        if hasattr(self.inner, "set_epoch"):
            self.inner.set_epoch(self.epoch())
        for place, row in enumerate(list(self.inner)):
            yield int(row), place
        for place in range(self.layout.rows, self.layout.padded):
            yield _BLANK, place


class PlacedRows(Dataset[dict[str, Any]]):  # type: ignore[misc]  # torch is not followed
    """The rows that `WholeEpoch` names, with what their batch counts. A blank row is the first one with share 0."""

    def __init__(self, rows: Any, layout: Layout) -> None:
        self.rows = rows
        self.layout = layout
        self.steps_from, self.share = layout.shares
        self.round_from, self.round_share = layout.round_shares
        self.uneven_from = layout.uneven_from

    def __len__(self) -> int:
        return self.layout.padded  # or accelerate would cut what it gathers from the last batch

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Any]:
        row, place = item
        found = dict(self.rows[max(row, 0)])
        if place >= self.uneven_from:
            found[UNEVEN] = True
        if row == _BLANK:
            found[SHARE] = found[ROUND_SHARE] = 0.0
            return found
        if place >= self.steps_from and self.share != 1.0:
            found[SHARE] = self.share
        if place >= self.round_from and self.round_share != 1.0:
            found[ROUND_SHARE] = self.round_share
        return found


def seeded(sampler: Any, seed: int) -> Any:
    """A random sampler as accelerate makes it for several processes: the order is that of seed and epoch."""
    if not isinstance(sampler, RandomSampler):
        return sampler
    from accelerate.data_loader import SeedableRandomSampler

    return SeedableRandomSampler(sampler.data_source, generator=torch.Generator(), data_seed=seed)


@dataclass(frozen=True)
class Part:
    """What a batch counts in its step, in its round, and whether the round's batches differ in length."""

    share: float = 1.0
    of_round: float = 1.0
    uneven: bool = False


def take_part(examples: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], Part]:
    """A batch's rows without the blank ones (the first if all are), and its part."""
    real = [example for example in examples if example.get(SHARE) != 0.0]
    kept = real or list(examples[:1])
    first = kept[0]
    part = Part(float(first.get(SHARE, 1.0)), float(first.get(ROUND_SHARE, 1.0)), bool(first.get(UNEVEN, False)))
    plain = [{key: value for key, value in row.items() if key not in (SHARE, ROUND_SHARE, UNEVEN)} for row in kept]
    return plain, part


@contextmanager
def gathering_uneven(accelerator: Any, uneven: bool) -> Iterator[None]:
    """Inside, `accelerator.gather` takes tensors of another length on each process."""
    if not uneven:
        yield
        return
    plain = accelerator.gather

    def gather(tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor) or tensor.ndim == 0:
            return plain(tensor)
        lengths = plain(torch.tensor([len(tensor)], device=tensor.device)).tolist()
        filler = tensor.new_zeros((max(lengths) - len(tensor), *tensor.shape[1:]))
        every = plain(torch.cat([tensor, filler])).split(max(lengths))
        return torch.cat([part[:length] for part, length in zip(every, lengths, strict=True)])

    accelerator.gather = gather
    try:
        yield
    finally:
        del accelerator.gather


def without_labels(batch: dict[str, Any]) -> None:
    """Take the labels out of a blank batch, so that none of its tokens is counted."""
    for name, value in batch.items():
        if name.endswith("labels"):
            batch[name] = torch.full_like(value, -100)
