"""Write every shard of every split, and beside them what `datasets.load_from_disk` wants to see."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.engine import Engine
from pipeline.output.manifest import dump
from pipeline.plan.types import Plan
from pipeline.runs.collect import Collected
from registry.kinds import ROW_KINDS
from stages.core.atomic_io import make_folder, write_whole
from stages.core.collector import Place
from stages.core.findings import Note
from stages.mix import SPLIT_OFF
from stages.writers.shard import ShardResult, ShardTask

from .example_table import Table
from .order import Arranged
from .rows import Rows

SHARD_BYTES_MOST = 256 << 20
SHARD_BYTES_LEAST = 32 << 20


def write_splits(
    plan: Plan,
    table: Table,
    splits: dict[str, Rows],
    build: Path,
    engine: Engine[ShardTask, ShardResult],
    on_shard: Callable[[int], None] | None = None,
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Writes every shard of every split.

    Args:
        plan: Kind of rows, and the size of a shard if one was requested.
        table: All examples of the run; names the cache files.
        splits: The rows of each split.
        build: The folder that is published at the end.
        engine: Writes the shards, in any order.
        on_shard: Takes how many shards there are, each time that one is written.

    Returns:
        The manifest's `splits`, and its entries for the files of `datasets`.

    Raises:
        MachineFault: When the disk says no.
    """
    tasks, names = [], []
    for split, rows in splits.items():
        make_folder(build / split)
        for name, task in _tasks(plan, table, split, rows, build):
            names.append(name)
            tasks.append(task)
    results: dict[int, ShardResult] = {}
    for number, result in engine.run(tasks):
        results[number] = result
        if on_shard is not None:
            on_shard(len(tasks))
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        _add_shard(found, name, results[number])
    listed = [about for split, entry in found.items() for about in _huggingface_files(plan, build, split, entry)]
    return found, [*listed, listed_file(build, "dataset_dict.json", dump({"splits": list(found)}))]


def listed_file(build: Path, name: str, data: bytes) -> dict[str, Any]:
    """Writes a file of a build; returns the manifest's entry for it."""
    return {"file": name, "bytes": len(data), "sha256": write_whole(build / name, data)}


class _Name(NamedTuple):
    """Where a shard and its lineage stand in the output."""

    split: str
    file: str
    lineage: str


def _tasks(plan: Plan, table: Table, split: str, rows: Rows, build: Path) -> Iterator[tuple[_Name, ShardTask]]:
    """The shards of a split, in order, each with the caches that its rows take their parts from."""
    borders = _shard_borders(plan, rows)
    ends = np.concatenate([[0], np.cumsum(rows.sizes)]).astype(np.int64)
    for number, (first, last) in enumerate(pairwise(borders)):
        label = f"{number:05d}-of-{len(borders) - 1:05d}.arrow"
        name = _Name(split, f"{split}/data-{label}", f"lineage/{split}-{label}")
        parts = rows.parts.take(slice(int(ends[first]), int(ends[last])))
        used, cache = np.unique(parts.cache, return_inverse=True)
        task = ShardTask(
            path=os.fspath(build / name.file),
            lineage_path=os.fspath(build / name.lineage),
            caches=tuple(table.caches[at] for at in used.tolist()),
            parts=parts._replace(cache=cache.astype(np.int32)),
            row_sizes=rows.sizes[first:last],
            with_lengths=plan.packed,
        )
        yield name, task


def _add_shard(found: dict[str, dict[str, Any]], name: _Name, result: ShardResult) -> None:
    """Adds a shard to the manifest's `splits`."""
    empty = {"rows": 0, "examples": 0, "tokens": 0, "trained_tokens": 0, "shards": []}
    entry = found.setdefault(name.split, empty)
    entry["rows"] += result.rows
    entry["tokens"] += result.tokens
    entry["trained_tokens"] += result.trained_tokens
    entry["shards"].append(
        {
            "file": name.file,
            "rows": result.rows,
            "tokens": result.tokens,
            "bytes": result.bytes,
            "sha256": result.sha256,
            "lineage": {"file": name.lineage, "bytes": result.lineage_bytes, "sha256": result.lineage_sha256},
        }
    )


def _shard_borders(plan: Plan, rows: Rows) -> list[int]:
    """Row numbers at which shards begin, and the end. A function of the rows alone."""
    count = len(rows.sizes)
    per_token = 8 if ROW_KINDS[plan.kind].sequence else 4
    size = int(rows.tokens.sum()) * per_token
    wanted = plan.config.pack.shard_size if "shard_size" in plan.config.given else None
    shard = wanted or min(max(size // 16, SHARD_BYTES_LEAST), SHARD_BYTES_MOST)
    shards = max(1, min(-(-size // shard), count or 1))
    if shards == 1:
        return [0, count]
    running = np.cumsum(rows.tokens)
    marks = (np.arange(1, shards) * int(running[-1])) // shards
    inner = np.unique(np.searchsorted(running, marks, side="left") + 1)
    return [0, *[int(mark) for mark in inner if 0 < mark < count], count]


def _huggingface_files(plan: Plan, build: Path, split: str, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The two files that make a split loadable by `datasets.load_from_disk`."""
    int_list = {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "List"}
    columns = ROW_KINDS[plan.kind].columns
    features = {name: {"dtype": "bool", "_type": "Value"} if name == "label" else int_list for name in columns}
    if plan.packed:
        features["seq_lengths"] = int_list
    fingerprint = hashlib.sha256("".join(shard["sha256"] for shard in entry["shards"]).encode()).hexdigest()[:16]
    info = {"features": features, "splits": {split: {"name": split, "num_examples": entry["rows"]}}}
    state: dict[str, Any] = {
        "_data_files": [{"filename": os.path.basename(shard["file"])} for shard in entry["shards"]],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    return [
        listed_file(build, f"{split}/dataset_info.json", dump(info)),
        listed_file(build, f"{split}/state.json", dump(state)),
    ]


def check_split(plan: Plan, collected: Collected, table: Table, arranged: Arranged) -> None:
    """Adds a finding for each conversation that a split put on both sides, and one for a split that nothing uses.

    Args:
        plan: Whether a split was made by `val_size`, and whether anything evaluates.
        collected: Takes the findings.
        table: All examples of the run; `table.hash` tells equal conversations.
        arranged: Which of them stand in which split.
    """
    config = plan.config
    value = config.mix.val_size
    given = any(source.split != "train" for source in plan.sources)
    if value <= SPLIT_OFF or "validation" not in arranged.splits or given:
        return
    train, validation = arranged.splits["train"], arranged.splits["validation"]
    if config.train.eval_strategy == "no" and not config.train.do_eval:
        text = f"{len(validation)} examples are split off, and eval_strategy is no"
        collected.found.note(Note("set.unused-split", "", text), Place(plan.sources[0].files[0]), plan.policy)
    both = np.isin(table.hash[validation], table.hash[train])
    for example in validation[both].tolist():
        note = Note("set.split-leak", "", "the same conversation stands in train and in validation")
        item = collected.files[int(table.file[example])]
        place = Place(item.path, int(table.line[example]), int(table.record[example]))
        collected.found.note(note, place, plan.policy)
