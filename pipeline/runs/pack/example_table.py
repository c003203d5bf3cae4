"""The table of all examples of a run: source, place, lengths and cut of each, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.runs.collect import Collected
from stages.core.arrays import Index


@dataclass
class Table:
    """Every kept or dropped example of the run, end to end in input order (items: examples)."""

    caches: list[str]
    cache: NDArray[np.int32]
    token_start: NDArray[np.int64]
    ids: NDArray[np.int32]  # uncut ids in the cache, without an appended EOS
    segment_start: NDArray[np.int64]
    segments: NDArray[np.int32]
    tokens_in: NDArray[np.int32]
    trained_in: NDArray[np.int32]
    tokens: NDArray[np.int32]
    trained: NDArray[np.int32]
    fate: NDArray[np.uint8]
    hash: NDArray[np.uint64]
    source: NDArray[np.int32]
    file: NDArray[np.int32]
    line: Index
    record: Index  # index in its file
    position: Index  # index in its source


def make_table(collected: Collected, reserved_tokens: int) -> Table:
    """Joins the chunks' arrays. reserved_tokens: appended EOS of each example, which no cache holds."""
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in Table.__dataclass_fields__ if name != "caches"}
    caches: list[str] = []
    for source, at, result in collected.chunks:
        examples = result.examples
        assert examples is not None
        count = len(examples.record)
        ids = examples.tokens_in - np.int32(reserved_tokens)
        starts = np.zeros(count, dtype=np.int64)
        segments = np.zeros(count, dtype=np.int64)
        if count:
            np.cumsum(ids[:-1], out=starts[1:])
            np.cumsum(examples.segments[:-1], out=segments[1:])
        rows: dict[str, NDArray[Any]] = {
            "cache": np.full(count, len(caches), dtype=np.int32),
            "token_start": starts,
            "ids": ids,
            "segment_start": segments,
            "segments": examples.segments,
            "tokens_in": examples.tokens_in,
            "trained_in": examples.trained_in,
            "tokens": examples.tokens,
            "trained": examples.trained,
            "fate": examples.fate,
            "hash": examples.hash,
            "source": np.full(count, source, dtype=np.int32),
            "file": np.full(count, at, dtype=np.int32),
            "line": examples.line,
            "record": examples.record,
            "position": examples.record + collected.files[at].base,
        }
        for name, values in rows.items():
            columns[name].append(values)
        caches.append(examples.cache)
    joined = {name: np.concatenate(parts) if parts else np.empty(0, dtype=np.int64) for name, parts in columns.items()}
    return Table(caches=caches, **joined)  # type: ignore[arg-type]  # dtypes are those of the parts
