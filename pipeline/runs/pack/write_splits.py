"""Write every shard of every split, and beside them what `datasets.load_from_disk` wants to see."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.engine import Engine
from pipeline.output.manifest import dump
from pipeline.plan.types import Plan
from pipeline.runs.collect import Collected
from registry.kinds import ROW_KINDS
from stages.core.atomic_io import make_folder, write_whole
from stages.core.collector import Place
from stages.core.findings import Note
from stages.writers.shard import ShardResult, ShardTask

from .example_table import Table
from .rows import Rows

if TYPE_CHECKING:
    from .order import Arranged


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
    """Writes every shard of every split; returns the manifest's `splits`, and its entries for the files of `datasets`.

    on_shard(how many there are): one is done.
    """
    assert plan.encode is not None
    tasks: list[ShardTask] = []
    names: list[tuple[str, str, str]] = []
    for split, rows in splits.items():
        make_folder(build / split)
        borders = _shard_borders(plan, rows)
        ends = np.concatenate([[0], np.cumsum(rows.sizes)]).astype(np.int64)
        count = len(borders) - 1
        for number in range(count):
            first, last = borders[number], borders[number + 1]
            label = f"{number:05d}-of-{count:05d}.arrow"
            names.append((split, f"{split}/data-{label}", f"lineage/{split}-{label}"))
            parts = rows.parts.take(slice(int(ends[first]), int(ends[last])))
            used, cache = np.unique(parts.cache, return_inverse=True)
            tasks.append(
                ShardTask(
                    path=os.fspath(build / names[-1][1]),
                    lineage_path=os.fspath(build / names[-1][2]),
                    caches=tuple(table.caches[at] for at in used.tolist()),
                    parts=parts._replace(cache=cache.astype(np.int32)),
                    row_sizes=rows.sizes[first:last],
                    with_lengths=plan.packed,
                )
            )
    results: dict[int, ShardResult] = {}
    for number, result in engine.run(tasks):
        results[number] = result
        if on_shard is not None:
            on_shard(len(tasks))
    found: dict[str, dict[str, Any]] = {}
    for number, (split, file, lineage) in enumerate(names):
        result = results[number]
        entry = found.setdefault(split, {"rows": 0, "examples": 0, "tokens": 0, "trained_tokens": 0, "shards": []})
        entry["rows"] += result.rows
        entry["tokens"] += result.tokens
        entry["trained_tokens"] += result.trained_tokens
        entry["shards"].append(
            {
                "file": file,
                "rows": result.rows,
                "tokens": result.tokens,
                "bytes": result.bytes,
                "sha256": result.sha256,
                "lineage": {"file": lineage, "bytes": result.lineage_bytes, "sha256": result.lineage_sha256},
            }
        )
    listed = [about for split, entry in found.items() for about in _huggingface_files(plan, build, split, entry)]
    return found, [*listed, listed_file(build, "dataset_dict.json", dump({"splits": list(found)}))]


def listed_file(build: Path, name: str, data: bytes) -> dict[str, Any]:
    """Writes a file of a build; returns the manifest's entry for it."""
    return {"file": name, "bytes": len(data), "sha256": write_whole(build / name, data)}


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
    """Adds a finding for each conversation that a split put on both sides, and one for a split that nothing uses."""
    import numpy as np

    from stages.mix import SPLIT_OFF

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
