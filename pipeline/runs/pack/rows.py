"""Rows: the examples of a split, packed or one by one, in the order in which they are written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.plan.types import Plan
from stages.core.arrays import Index
from stages.pack import PACKERS, pack
from stages.writers.lineage import Parts

from .example_table import Table
from .order import Arranged


@dataclass
class Rows:
    """Rows of one split: parts in writing order, and how many parts each row has."""

    parts: Parts
    sizes: NDArray[np.int32]
    tokens: Index  # tokens of each row


@dataclass(frozen=True)
class RowsOfSplits:
    """What is to be written: the examples, their order and account, and the rows of each split."""

    table: Table
    arranged: Arranged
    rows: dict[str, Rows]


def make_rows(plan: Plan, table: Table, order: Index) -> Rows:
    """Packs a split's examples into rows, or gives each a row of its own.

    Args:
        plan: Kind of rows, cutoff, packing strategy and seed.
        table: All examples of the run.
        order: Indices into `table` (int64, [examples of the split]); an example may occur more than once.

    Returns:
        The rows in the order in which they are written, none with more tokens than `cutoff_len`.
    """
    config = plan.config
    cutoff = config.encode.cutoff_len
    if not plan.packed:
        return Rows(_parts(table, order), np.ones(len(order), dtype=np.int32), table.tokens[order].astype(np.int64))
    if plan.kind == "pt":
        return _stream(table, order, cutoff)
    lengths = table.tokens[order]
    strategy = config.pack.packing_strategy
    rows = pack(lengths.tolist(), cutoff, strategy)
    if not PACKERS[strategy].keeps_order:
        # best fit leaves rows ordered by length; a seeded shuffle makes reading them in order random
        shuffled = np.random.default_rng(config.mix.seed).permutation(len(rows))
        rows = [rows[at] for at in shuffled.tolist()]
    sizes = np.fromiter((len(row) for row in rows), dtype=np.int32, count=len(rows))
    flat = np.fromiter((item for row in rows for item in row), dtype=np.int64, count=int(sizes.sum()))
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    running = np.concatenate([[0], np.cumsum(lengths[flat].astype(np.int64))])
    return Rows(_parts(table, order[flat]), sizes, np.diff(running[ends]))


def _parts(table: Table, index: Index) -> Parts:
    return Parts(
        cache=table.cache[index],
        token_start=table.token_start[index],
        tokens=table.ids[index],
        segment_start=table.segment_start[index],
        segments=table.segments[index],
        offset=np.zeros(len(index), dtype=np.int32),
        source=table.file[index],
        line=table.line[index],
        record=table.record[index],
    )


def _stream(table: Table, order: Index, block_tokens: int) -> Rows:
    """Pretraining: the documents as one stream, cut into blocks; only the last block is shorter. Nothing is lost."""
    ends = np.cumsum(table.ids[order].astype(np.int64))
    total_tokens = int(ends[-1]) if len(ends) else 0
    if not total_tokens:  # every document was rejected
        return Rows(_parts(table, order[:0]), np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64))
    cuts = np.union1d(ends, np.arange(block_tokens, total_tokens, block_tokens, dtype=np.int64))
    cuts = cuts[cuts > 0]
    starts = np.concatenate([[0], cuts[:-1]]).astype(np.int64)
    document = np.searchsorted(ends, starts, side="right")
    offset = starts - np.where(document > 0, ends[document - 1], 0)
    base = _parts(table, order[document])
    parts = base._replace(
        token_start=base.token_start + offset,
        tokens=(cuts - starts).astype(np.int32),
        offset=offset.astype(np.int32),
        segments=np.ones(len(cuts), dtype=np.int32),
    )
    row = starts // block_tokens
    tokens = np.bincount(row, weights=cuts - starts).astype(np.int64)
    return Rows(parts, np.bincount(row).astype(np.int32), tokens)
