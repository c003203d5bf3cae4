"""Excluded: lengths of what was tokenized and stands in no row, so that any other cutoff can be costed from OUT alone.

    split     the split it was meant for, "" when sampling passed it over
    place     its position in that split's order before the length limit took examples out and before the shuffle; -1
    source, line, record, before, trained   as in the lineage (stages.writers.shard)

One row for each time that an example would have been used. Rejected records that were never tokenized are in rejects/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.core.arrays import gather
from stages.core.atomic_io import create
from stages.tokenize.token_cache import TokenCache

from .arrow_arrays import ints, lists, texts
from .lineage import masks

NAME = "lineage/left-out.arrow"
EXCLUDED = pa.schema(
    [
        pa.field("split", pa.string()),
        pa.field("place", pa.int32()),
        pa.field("source", pa.int32()),
        pa.field("line", pa.int32()),
        pa.field("record", pa.int32()),
        pa.field("before", pa.list_(pa.int32())),
        pa.field("trained", pa.list_(pa.uint8())),
    ]
)


class Excluded(NamedTuple):
    """Examples that stand in no row, one item each. cache, segment_start, segments: where their lengths lie."""

    split: Sequence[str]
    place: NDArray[np.int64]
    source: NDArray[np.int32]
    line: NDArray[np.int64]
    record: NDArray[np.int64]
    cache: NDArray[np.int32]
    segment_start: NDArray[np.int64]
    segments: NDArray[np.int32]


def write_excluded(path: str, caches: Sequence[str], left: Excluded, kind: str) -> tuple[int, str]:
    """Writes the file.

    Args:
        path: The file, which appears only when all of it is written.
        caches: The cache files that `left.cache` numbers.
        left: The examples that stand in no row.
        kind: Kind of example, which decides what the usual mask is.

    Returns:
        Its bytes and its sha256.

    Raises:
        MachineFault: It cannot be written.
    """
    count = len(left.place)
    borders = np.concatenate([[0], np.cumsum(left.segments)]).astype(np.int64)
    before = np.empty(int(borders[-1]), dtype=np.int32)
    trained = np.empty(int(borders[-1]), dtype=np.uint8)
    for number in np.unique(left.cache).tolist():
        mine = np.nonzero(left.cache == number)[0]
        lengths = left.segments[mine].astype(np.int64)
        starts = borders[:-1][mine]
        into = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(int(lengths.sum()))
        with TokenCache(caches[number]) as cache:
            before[into] = gather(cache.section("segments"), left.segment_start[mine], lengths)
            trained[into] = gather(cache.section("trained"), left.segment_start[mine], lengths)
    batch = pa.RecordBatch.from_arrays(
        [
            texts(left.split),
            ints(left.place),
            ints(left.source),
            ints(left.line),
            ints(left.record),
            lists(before, borders),
            masks(trained, left.segments, kind),
        ],
        schema=EXCLUDED,
    )
    assert batch.num_rows == count
    with create(path) as sink:
        with pa.ipc.new_file(sink, EXCLUDED, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_batch(batch)
        return sink.size_bytes, sink.sha256
