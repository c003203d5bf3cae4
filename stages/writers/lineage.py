"""Where every example of a shard came from: source, file, line, and its place in its row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .arrow_arrays import ints, lists


class Parts(NamedTuple):
    """Examples (or spans of pretraining documents) in the order they are written; one item each.

    cache: index into ShardTask.caches. token_start, tokens: where its uncut ids lie in that cache. segment_start,
    segments: the same for its segments. offset: for a span of a document, how far into the document it starts. source,
    line, record: where it came from.
    """

    cache: NDArray[np.int32]
    token_start: NDArray[np.int64]
    tokens: NDArray[np.int32]
    segment_start: NDArray[np.int64]
    segments: NDArray[np.int32]
    offset: NDArray[np.int32]
    source: NDArray[np.int32]
    line: NDArray[np.int64]
    record: NDArray[np.int64]

    def take(self, index: Any) -> Parts:
        """A selection, in the given order."""
        return Parts(*(column[index] for column in self))


class Group(NamedTuple):
    """Examples as they were read.

    ids: token ids, uncut, end to end (tokens,). segments, kept, trained: length before and after the cut, and 1 with a
    loss (segments,). counts, labels, changed: segments, verdict and whether it was cut (examples,).
    """

    ids: NDArray[np.int32]
    segments: NDArray[np.int32]
    kept: NDArray[np.int32]
    trained: NDArray[np.uint8]
    counts: NDArray[np.int32]
    labels: NDArray[np.uint8]
    changed: NDArray[np.bool_]


LINEAGE = pa.schema(
    [
        pa.field("row", pa.int32()),
        pa.field("start", pa.int32()),
        pa.field("tokens", pa.int32()),
        pa.field("source", pa.int32()),
        pa.field("line", pa.int32()),
        pa.field("record", pa.int32()),
        pa.field("offset", pa.int32()),
        pa.field("before", pa.list_(pa.int32())),
        pa.field("after", pa.list_(pa.int32())),
        pa.field("trained", pa.list_(pa.uint8())),
    ]
)


def usual_mask(counts: NDArray[np.int32], kind: str) -> NDArray[np.uint8]:
    """Which segments carry a loss when nothing was requested: answers, and every token of a document.

    Args:
        counts: Segments of each example (int32, [examples]).
        kind: Kind of example: lm, pt, pref, unpaired or prompt.

    Returns:
        1 for a segment with a loss, else 0 (uint8, [segments]).
    """
    starts = np.cumsum(counts, dtype=np.int64) - counts
    position = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(starts, counts)
    if kind == "pt":
        return np.ones(len(position), dtype=np.uint8)
    return ((position % 2 == 1) if kind == "lm" else (position > 0)).astype(np.uint8)


def masks(trained: NDArray[np.uint8], counts: NDArray[np.int32], kind: str) -> pa.Array:
    """The lineage column `trained`.

    Args:
        trained: 1 for a segment with a loss, else 0 (uint8, [segments]).
        counts: Segments of each example (int32, [examples]).
        kind: Kind of example, which decides what the usual mask is.

    Returns:
        A list of uint8 an example, null where it is the usual one.
    """
    borders = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    odd = np.concatenate([[0], np.cumsum(trained != usual_mask(counts, kind))])
    unusual = np.diff(odd[borders]) > 0
    ends = np.concatenate([[0], np.cumsum(np.where(unusual, counts, 0))]).astype(np.int32)
    return lists(trained[np.repeat(unusual, counts)], ends, there=unusual)


def write_lineage(
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    parts: Parts,
    group: Group,
    kind: str,
) -> pa.RecordBatch:
    """The lineage of a group's parts.

    Args:
        rows: Row of each part in its shard (int64, [parts]).
        starts: Where it begins in its row (int64, [parts]).
        sizes: Its tokens (int64, [parts]).
        parts: Where it came from.
        group: Its segments, before and after the cut.
        kind: Kind of example, which decides what the usual mask is.
    """
    segment_borders = np.concatenate([[0], np.cumsum(group.counts)]).astype(np.int64)
    after_counts = np.where(group.changed, group.counts, 0)
    after_borders = np.concatenate([[0], np.cumsum(after_counts)]).astype(np.int32)
    cut_segments = group.kept[np.repeat(group.changed, group.counts)]
    after = lists(cut_segments, after_borders, there=group.changed)
    return pa.RecordBatch.from_arrays(
        [
            ints(rows),
            ints(starts),
            ints(sizes),
            ints(parts.source),
            ints(parts.line),
            ints(parts.record),
            ints(parts.offset),
            lists(group.segments, segment_borders),
            after,
            masks(group.trained, group.counts, kind),
        ],
        schema=LINEAGE,
    )
