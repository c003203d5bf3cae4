"""Write: training rows as an uncompressed Arrow IPC stream shard, with its lineage beside it.

    shard     the only container that `datasets` memory-maps; columns as contract.md lists them, all list<int32>
    lineage   zstd-compressed Arrow IPC file, one row an example: row, start, tokens, source, line, record, offset,
              before / after (tokens of each segment; `after` is null where nothing was cut),
              trained (1 for each segment with a loss; null where that is the usual: targets and no source)

A stream has no checksum and may lose its tail without an error, so rows, bytes and sha256 of each go into the manifest.
Ids are read from the cache files by `pread`, a group of rows at a time: memory is bounded by the group.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from registry.kinds import ROW_KINDS
from stages.core.atomic_io import create
from stages.tokenize.token_cache import TokenCache
from stages.truncate import CutOptions
from stages.truncate.apply import cut

from .arrow_arrays import bools, lists
from .labels import assemble_lm, assemble_parts
from .lineage import LINEAGE, Group, Parts, write_lineage

GROUP_TOKENS = 1 << 20
OPEN_CACHES = 512  # half as many files as a process may usually open


class ShardTask(NamedTuple):
    """One shard to write. row_sizes: parts in each row. with_lengths: packed, so `seq_lengths` is written."""

    path: str
    lineage_path: str
    caches: tuple[str, ...]
    parts: Parts
    row_sizes: NDArray[np.int32]
    with_lengths: bool


@dataclass(frozen=True)
class ShardResult:
    """What was written: figures for the manifest."""

    rows: int
    parts: int
    tokens: int
    trained_tokens: int
    bytes: int
    sha256: str
    lineage_bytes: int
    lineage_sha256: str


class _TokenCaches:
    """The cache files of a shard. Packed rows take their parts from all over the set, so every file stays known, and
    the OPEN_CACHES that were used last stay open.

    Segments are kept in memory when there are few files (90 KB each), else they are read like the ids.
    """

    def __init__(self, paths: tuple[str, ...]) -> None:
        self.paths = paths
        self._caches: dict[int, TokenCache] = {}
        self._open: OrderedDict[int, None] = OrderedDict()
        self._kept: dict[tuple[int, str], NDArray[Any]] | None = {} if len(paths) <= OPEN_CACHES else None

    def get(self, index: int) -> TokenCache:
        cache = self._caches.get(index)
        if cache is None:
            cache = self._caches[index] = TokenCache(self.paths[index]).forget_meta()
        if index in self._open:
            self._open.move_to_end(index)
            return cache
        self._open[index] = None
        if len(self._open) > OPEN_CACHES:
            self._caches[self._open.popitem(last=False)[0]].close()
        return cache

    def run(self, index: int, name: str, start: int, end: int) -> NDArray[Any]:
        """Items start to end (exclusive) of one file's small section, shape (end - start,)."""
        if self._kept is None:
            return self.get(index).section(name, start, end)
        whole = self._kept.get((index, name))
        if whole is None:
            whole = self._kept[index, name] = self.get(index).section(name)
        return whole[start:end]

    def close(self) -> None:
        for index in self._open:
            self._caches[index].close()
        self._open.clear()


def write_shard(options: CutOptions, task: ShardTask) -> ShardResult:
    """Writes one shard and its lineage. Raises MachineFault when they cannot be written."""
    kind = options.kind
    int_list = pa.list_(pa.int32())
    names = ROW_KINDS[kind].columns + (("seq_lengths",) if task.with_lengths else ())
    schema = pa.schema([pa.field(name, pa.bool_() if name == "label" else int_list) for name in names])
    caches = _TokenCaches(task.caches)
    lineage: list[pa.RecordBatch] = []
    tokens = trained_total = 0
    try:
        with create(task.path) as sink:
            with pa.ipc.new_stream(sink, schema) as writer:
                for first_row, row_sizes, parts in _groups(task):
                    group = _load(caches, parts, options, stream=kind == "pt" and task.with_lengths)
                    batch, starts, sizes, trained = _batch(group, row_sizes, options, schema, task.with_lengths)
                    writer.write_batch(batch)
                    tokens += int(sizes.sum())
                    trained_total += trained
                    rows = np.repeat(np.arange(first_row, first_row + len(row_sizes)), row_sizes)
                    lineage.append(write_lineage(rows, starts, sizes, parts, group, kind))
            size, digest = sink.size_bytes, sink.sha256
    finally:
        caches.close()
    with create(task.lineage_path) as sink:
        options_zstd = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, LINEAGE, options=options_zstd) as writer:
            for batch in lineage:
                writer.write_batch(batch)
        lineage_size, lineage_digest = sink.size_bytes, sink.sha256
    return ShardResult(
        rows=len(task.row_sizes),
        parts=len(task.parts.cache),
        tokens=tokens,
        trained_tokens=trained_total,
        bytes=size,
        sha256=digest,
        lineage_bytes=lineage_size,
        lineage_sha256=lineage_digest,
    )


def _groups(task: ShardTask) -> Iterator[tuple[int, NDArray[np.int32], Parts]]:
    """Rows in groups of about GROUP_TOKENS tokens: (index of the first row, parts of each row, the parts)."""
    ends = np.cumsum(task.row_sizes)
    tokens = np.concatenate([[0], np.cumsum(task.parts.tokens.astype(np.int64))])
    row_tokens = tokens[ends]
    row = 0
    while row < len(ends):
        done = tokens[ends[row - 1]] if row else 0
        stop = int(np.searchsorted(row_tokens, done + GROUP_TOKENS, side="right"))
        stop = max(stop, row + 1)
        first = int(ends[row - 1]) if row else 0
        yield row, task.row_sizes[row:stop], task.parts.take(slice(first, int(ends[stop - 1])))
        row = stop


def _load(caches: _TokenCaches, parts: Parts, options: CutOptions, *, stream: bool) -> Group:
    """Reads the uncut ids of the parts, neighbours in one read, and cuts their lengths. stream: parts are spans of
    documents, cut already."""
    total = int(parts.tokens.sum())
    ids = np.empty(total, dtype=np.int32)
    count = len(parts.cache)
    ends = np.concatenate([[0], np.cumsum(parts.tokens.astype(np.int64))])
    segments_list, trained_list, labels = [], [], np.full(count, 255, dtype=np.uint8)
    cache_of, starts, sizes = parts.cache.tolist(), parts.token_start.tolist(), parts.tokens.tolist()
    segment_starts, segment_counts = parts.segment_start.tolist(), parts.segments.tolist()
    # what is a neighbour both in the cache and here is one read
    at = 0
    while at < count:
        stop, end = at + 1, starts[at] + sizes[at]
        while stop < count and cache_of[stop] == cache_of[at] and starts[stop] == end:
            end += sizes[stop]
            stop += 1
        caches.get(cache_of[at]).read_into("ids", starts[at], ids[ends[at] : ends[stop]])
        at = stop
    for part in range(count):
        if stream:
            segments_list.append(np.array([sizes[part]], dtype=np.int32))
            trained_list.append(np.ones(1, dtype=np.uint8))
            continue
        cache, first = cache_of[part], segment_starts[part]
        segments_list.append(caches.run(cache, "segments", first, first + segment_counts[part]))
        trained_list.append(caches.run(cache, "trained", first, first + segment_counts[part]))
        if options.kind == "unpaired":
            labels[part] = caches.run(cache, "labels", first // 2, first // 2 + 1)[0]
    all_segments = np.concatenate(segments_list) if segments_list else np.empty(0, dtype=np.int32)
    all_trained = np.concatenate(trained_list) if trained_list else np.empty(0, dtype=np.uint8)
    counts = np.ones(count, dtype=np.int32) if stream else parts.segments.astype(np.int32)
    kept, changed = (all_segments, np.zeros(count, dtype=np.bool_)) if stream else cut(all_segments, counts, options)
    return Group(ids, all_segments, kept, all_trained, counts, labels, changed)


def _batch(
    group: Group, row_sizes: NDArray[np.int32], options: CutOptions, schema: pa.Schema, with_lengths: bool
) -> tuple[pa.RecordBatch, NDArray[np.int64], NDArray[np.int64], int]:
    """A record batch, and for each part its token start within its row and its tokens; last the trained tokens."""
    row_ends = np.concatenate([[0], np.cumsum(row_sizes)]).astype(np.int64)
    if ROW_KINDS[options.kind].sequence:
        rows = assemble_lm(group.ids, group.segments, group.kept, group.trained, group.counts, options)
        borders = rows.borders[row_ends]
        sizes = np.diff(rows.borders)
        starts = rows.borders[:-1] - np.repeat(borders[:-1], row_sizes)
        arrays = [lists(rows.ids, borders), lists(rows.labels, borders)]
        if with_lengths:
            arrays.append(lists(sizes, row_ends))
        trained = int(np.count_nonzero(rows.labels != -100))
        return pa.RecordBatch.from_arrays(arrays, schema=schema), starts, sizes, trained
    columns = assemble_parts(
        group.ids,
        group.segments,
        group.kept,
        len(ROW_KINDS[options.kind].segments),
        prompt_middle_goes=options.kind == "prompt",
    )
    arrays = [lists(values, borders) for values, borders in columns]
    if options.kind == "unpaired":
        arrays.append(bools(group.labels == 1))
    lengths = [np.diff(borders) for _, borders in columns]
    sizes = np.sum(lengths, axis=0).astype(np.int64)
    trained = int(sum(int(part.sum()) for part in lengths[1:]))
    return pa.RecordBatch.from_arrays(arrays, schema=schema), np.zeros(len(sizes), dtype=np.int64), sizes, trained
