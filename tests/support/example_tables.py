"""Plans and tables of examples for tests of what orders, packs and accounts them: no tokenizer runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import load_config
from pipeline.plan import make_plan
from pipeline.plan.types import Plan
from pipeline.runs.collect import Collected, FileTotals
from pipeline.runs.pack.example_table import Table
from tests.support.packed_outputs import TINY, write_records


def plan_of(folder: Path, counts: Sequence[int], *settings: str) -> Plan:
    """A plan over one file of records for each count."""
    files = []
    for number, count in enumerate(counts):
        records = [{"instruction": f"Say {n}.", "output": str(n)} for n in range(count)]
        files.append(str(write_records(folder / f"set{number}.jsonl", records)))
    words = [f"dataset={','.join(files)}", f"model_name_or_path={TINY}", "template=qwen3", *settings]
    return make_plan(load_config(None, words, for_command="pack"), needs_tokens=True)


def table_of(tokens: Sequence[int], **columns: Sequence[int]) -> Table:
    """Examples of the given lengths, uncut, of one source and file, unless the columns say otherwise."""
    count = len(tokens)
    lengths = np.array(tokens, dtype=np.int32)
    numbers = np.arange(count, dtype=np.int64)
    values: dict[str, Any] = {
        "cache": np.zeros(count, dtype=np.int32),
        "token_start": np.cumsum(lengths, dtype=np.int64) - lengths,
        "ids": lengths,
        "segment_start": numbers * 2,
        "segments": np.full(count, 2, dtype=np.int32),
        "tokens_in": lengths,
        "trained_in": lengths // 2,
        "tokens": lengths,
        "trained": lengths // 2,
        "fate": np.zeros(count, dtype=np.uint8),
        "hash": numbers.astype(np.uint64),
        "source": np.zeros(count, dtype=np.int32),
        "file": np.zeros(count, dtype=np.int32),
        "line": numbers + 1,
        "record": numbers,
        "position": numbers,
    }
    for name, column in columns.items():
        values[name] = np.array(column, dtype=values[name].dtype)
    return Table(caches=["a.cache"], **values)


def collected_of(plan: Plan, read: Sequence[int]) -> Collected:
    """What was collected when each source has one file with so many records, none rejected."""
    paths = [source.files[0] for source in plan.sources]
    totals = [FileTotals(number, path, read=read[number]) for number, path in enumerate(paths)]
    return Collected(files=totals)
