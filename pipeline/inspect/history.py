"""History: the lengths of every example of an output before any cut, and the order in which they were meant to stand.

    lineage of each shard ──┐
    lineage/left-out        ┴──> each example once (segments, mask, source) + per split an order over them

From it `pipeline.inspect.cutoff_costs` runs the length limit, the packing and the account again for any `cutoff_len`.
20 to 60 bytes an example; no token is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.output.lineage_columns import Lists, filled, lists, numbers
from pipeline.output.shards import Shards, each_lineage
from stages.pack import PACKERS
from stages.truncate import CutOptions
from stages.writers.lineage import usual_mask

Index = NDArray[np.int64]


@dataclass(frozen=True)
class History:
    """Everything that a cutoff decides about.

    segments, trained (segments,), counts, source (examples,): each tokenized record once; `source` indexes `names`.
    orders: split -> indices of the examples, before the limit took any out and before the shuffle (for best-fit packing
    in any order). read, rejected: records of each source, and those that were rejected, by rule.
    """

    manifest: Mapping[str, Any]
    cut: CutOptions
    names: list[str]
    read: list[int]
    rejected: list[Counter[str]]
    segments: NDArray[np.int32]
    trained: NDArray[np.uint8]
    counts: NDArray[np.int32]
    source: NDArray[np.int32]
    orders: dict[str, Index]

    @property
    def packed(self) -> bool:
        """Whether rows hold several examples."""
        return bool(self.manifest["packed"])

    @property
    def strategy(self) -> str:
        """How rows are filled."""
        return str(self.manifest["options"]["packing_strategy"])


class _Found(NamedTuple):
    """Examples as they were found in one place: key (file and record in one number), lengths, masks."""

    key: Index
    before: Lists
    trained: Lists


def load_history(shards: Shards) -> History:
    """Reads the lineage of every split.

    Args:
        shards: An opened output.

    Returns:
        Each tokenized record once, whether it stands in the rows or not.

    Raises:
        DataFault: When a file is missing or damaged.
    """
    manifest = shards.manifest
    found: list[_Found] = []
    in_rows: dict[str, int] = {}
    for split in shards.splits:
        mine = [_of_documents(line) if shards.kind == "pt" else _of(line) for _, line in each_lineage(shards, split)]
        if shards.kind == "pt":
            mine = [_join(mine)]
        in_rows[split] = sum(len(part.key) for part in mine)
        found += mine
    table = shards.excluded()
    if table is not None and len(table):
        before = lists(table, "before")
        trained, _ = filled(table, "trained", usual_mask(before.counts, shards.kind), before)
        found.append(_Found(_key(numbers(table, "source"), numbers(table, "record")), before, trained))
    every = _end_to_end(found)
    # pieces of split records and of documents have no name of their own: each is an example
    distinct = manifest["cut"]["overlong"] != "split" and shards.kind != "pt"
    if distinct:
        key, first, place = np.unique(every.key, return_index=True, return_inverse=True)
    else:
        key, first = every.key, np.arange(len(every.key))
        place = first
    orders = _orders(shards, place.astype(np.int64), in_rows, table)
    names, source_of_file = sources_of(manifest)
    closed = manifest["ledger"]["sources"]
    segments, trained_once, counts = _take(every.before, first), _take(every.trained, first), every.before.counts[first]
    return History(
        manifest=manifest,
        cut=CutOptions(**{name: value for name, value in manifest["cut"].items() if name != "overlong"}),
        names=names,
        read=[int(closed[name]["read"]) for name in names],
        rejected=[Counter(closed[name]["rejected"]) for name in names],
        segments=segments.astype(np.int32),
        trained=trained_once.astype(np.uint8),
        counts=counts,
        source=source_of_file[(key >> 40).astype(np.int64)] if len(source_of_file) else np.empty(0, dtype=np.int32),
        orders=orders,
    )


def sources_of(manifest: Mapping[str, Any]) -> tuple[list[str], NDArray[np.int32]]:
    """The sources of an output.

    Args:
        manifest: Of the output.

    Returns:
        Their names in the order of the inputs, and for each input file the index of its source (int32, [input files]).
    """
    names = list(dict.fromkeys(str(entry["source"]) for entry in manifest["inputs"]))
    return names, np.array([names.index(entry["source"]) for entry in manifest["inputs"]], dtype=np.int32)


def _key(file: NDArray[Any], record: NDArray[Any]) -> Index:
    return (file.astype(np.int64) << 40) | record.astype(np.int64)


def _of(line: Any) -> _Found:
    return _Found(_key(line.source, line.record), line.before, line.trained)


def _of_documents(line: Any) -> _Found:
    """Pieces of documents; those that do not begin one carry key -1 until `_join` puts them together."""
    key = np.where(line.offset == 0, _key(line.source, line.record), -1)
    return _Found(key, line.before, line.trained)


def _join(found: list[_Found]) -> _Found:
    every = _end_to_end(found)
    sizes = np.diff(np.concatenate([[0], np.cumsum(every.before.values)])[every.before.borders])
    starts = np.flatnonzero(every.key >= 0)
    totals = np.add.reduceat(sizes, starts) if len(starts) else sizes
    borders = np.arange(len(starts) + 1, dtype=np.int64)
    return _Found(
        every.key[starts], Lists(totals.astype(np.int32), borders), Lists(np.ones(len(starts), dtype=np.uint8), borders)
    )


def _end_to_end(found: list[_Found]) -> _Found:
    def joined(parts: list[Lists]) -> Lists:
        counts = [part.counts for part in parts]
        values = np.concatenate([part.values for part in parts]) if parts else np.empty(0, dtype=np.int32)
        return Lists(
            values, np.concatenate([[0], *([np.cumsum(np.concatenate(counts))] if counts else [])]).astype(np.int64)
        )

    keys = np.concatenate([part.key for part in found]) if found else np.empty(0, dtype=np.int64)
    return _Found(keys, joined([part.before for part in found]), joined([part.trained for part in found]))


def _take(values: Lists, index: Index) -> NDArray[Any]:
    from stages.core.arrays import gather

    lengths = np.diff(values.borders)[index]
    return gather(values.values, values.borders[:-1][index], lengths)


def _orders(shards: Shards, place: Index, in_rows: Mapping[str, int], table: pa.Table | None) -> dict[str, Index]:
    """Per split: its rows' examples in the order before the shuffle, with what the limit took put back in its place."""
    options = shards.manifest["options"]
    any_order = shards.manifest["packed"] and not PACKERS[str(options["packing_strategy"])].keeps_order
    meant = (
        np.array(table.column("split").to_pylist(), dtype=object) if table is not None else np.empty(0, dtype=object)
    )
    wanted = numbers(table, "place").astype(np.int64) if table is not None else np.empty(0, dtype=np.int64)
    left = place[len(place) - len(meant) :]
    orders, at = {}, 0
    for split in shards.splits:
        kept = place[at : at + in_rows[split]]
        at += in_rows[split]
        if split == "train" and options.get("shuffle") and not any_order:
            straight = np.empty_like(kept)
            straight[np.random.default_rng(options.get("seed") or 0).permutation(len(kept))] = kept
            kept = straight
        gone = np.flatnonzero(meant == split)
        order = np.empty(len(kept) + len(gone), dtype=np.int64)
        back = np.zeros(len(order), dtype=np.bool_)
        back[wanted[gone]] = True
        order[wanted[gone]] = left[gone]
        order[~back] = kept
        orders[split] = order
    return orders
