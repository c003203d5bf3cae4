"""Token ids and labels of a shard's rows, gathered from the chunk caches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.core.arrays import gather, sums
from stages.truncate import CutOptions
from stages.truncate.apply import ends_trained, eos_marks

IGNORE = -100


class Rows(NamedTuple):
    """Assembled lm examples, end to end: ids and labels (tokens,), borders (examples + 1,)."""

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    borders: NDArray[np.int64]


def assemble_lm(
    ids: NDArray[np.int32],
    segments: NDArray[np.int32],
    kept: NDArray[np.int32],
    trained: NDArray[np.uint8],
    counts: NDArray[np.int32],
    options: CutOptions,
) -> Rows:
    """Joins lm (or pt) examples with their labels.

    Args:
        ids: Token ids of the uncut segments, end to end (int32, [tokens]).
        segments: Their lengths (int32, [segments]).
        kept: Their lengths after the cut, each at most the one before (int32, [segments]).
        trained: 1 for a segment that carries a loss, else 0 (uint8, [segments]).
        counts: Segments of each example (int32, [examples]).
        options: Whether and where an EOS is appended and taught.

    Returns:
        The kept tokens; a label is its token in a trained segment, else `IGNORE`.
    """
    if np.array_equal(segments, kept):
        out = ids
    else:
        starts = np.zeros(len(segments), dtype=np.int64)
        np.cumsum(segments[:-1], out=starts[1:])
        out = gather(ids, starts, kept.astype(np.int64))
    labels = np.where(np.repeat(trained != 0, kept), out, np.int32(IGNORE)).astype(np.int32, copy=False)
    segment_borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=segment_borders[1:])
    borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(sums(kept, segment_borders), out=borders[1:])
    eos = options.efficient_eos
    if eos is not None and options.kind == "lm":
        marks = eos_marks(kept, trained, counts, segment_borders, options)
        first_tokens = np.zeros(len(kept), dtype=np.int64)
        np.cumsum(kept[:-1], out=first_tokens[1:])
        labels = labels.copy()
        labels[first_tokens[marks]] = eos
        ends = np.where(ends_trained(kept, trained, segment_borders, options), np.int32(eos), np.int32(IGNORE))
        out = np.insert(out, borders[1:], np.int32(eos))
        labels = np.insert(labels, borders[1:], ends)
        borders = borders + np.arange(len(borders), dtype=np.int64)
    return Rows(out, labels, borders)


def assemble_parts(
    ids: NDArray[np.int32],
    segments: NDArray[np.int32],
    kept: NDArray[np.int32],
    parts: int,
    *,
    prompt_middle_goes: bool = False,
) -> list[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Splits examples of `parts` segments each into that many columns: prompt, chosen, ...

    Args:
        ids: Token ids of the uncut segments, end to end (int32, [tokens]).
        segments: Their lengths (int32, [examples * parts]).
        kept: Their lengths after the cut (int32, [examples * parts]).
        parts: Segments of each example.
        prompt_middle_goes: Cut the first segment in its middle and not at its end, where the mark of the answer stands.

    Returns:
        For each column its values (int32, [kept tokens]) and borders (int64, [examples + 1]).
    """
    starts = np.zeros(len(segments), dtype=np.int64)
    np.cumsum(segments[:-1], out=starts[1:])
    columns = []
    for part in range(parts):
        lengths = kept[part::parts].astype(np.int64)
        borders = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=borders[1:])
        first = starts[part::parts]
        if part == 0 and prompt_middle_goes:
            heads = np.where(lengths < segments[part::parts], lengths // 2, lengths)
            tails = lengths - heads
            pieces = np.stack([first, first + segments[part::parts] - tails], axis=1).ravel()
            values = gather(ids, pieces, np.stack([heads, tails], axis=1).ravel())
        else:
            values = gather(ids, first, lengths)
        columns.append((values, borders))
    return columns
