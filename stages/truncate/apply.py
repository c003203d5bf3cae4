"""Apply: the cut on the lengths of a whole chunk at once, and which of the tokens that it leaves are trained.

    segments   s s s | t t | s s | t t t        lengths before the cut
    kept       s s s | t t | s   | t t          after `cutoff_len`
    trained    - - -   t t   -     t t          -: no loss

`efficient_eos` templates write no EOS after an answer: one EOS ends the example, and the first token of each later
source carries EOS as its label, so that the model learns to stop there (LLaMA-Factory, research note §4.3). After an
answer of weight 0, which is no idea of upstream's, neither is trained.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.core.arrays import sums

from . import CutOptions
from .proportional import cut_preference, cut_turns


def cut(
    segments: NDArray[np.int32], counts: NDArray[np.int32], options: CutOptions
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Cuts every example that exceeds the limit.

    Args:
        segments (NDArray[int32], [segments]): Tokens of each segment, all examples end to end.
        counts (NDArray[int32], [examples]): Segments of each example.
        options: How lengths are cut.

    Returns:
        Kept length of every segment (NDArray[int32], [segments]), and for each example whether anything was cut
        (NDArray[bool], [examples]).
    """
    kept = segments.copy()
    borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=borders[1:])
    changed = np.zeros(len(counts), dtype=np.bool_)
    if not len(counts):
        return kept, changed
    totals = sums(segments, borders) + options.reserved_tokens
    limit = options.limit_tokens
    for example in np.nonzero(totals > limit)[0].tolist():
        start, end = int(borders[example]), int(borders[example + 1])
        lengths = segments[start:end].tolist()
        if options.kind == "lm":
            after = cut_turns(lengths, limit, from_end=options.from_end, reserved_tokens=options.reserved_tokens)
        elif options.kind == "pref":
            after = list(cut_preference(lengths[0], lengths[1], lengths[2], limit))
        elif options.kind == "prompt":
            after = [min(lengths[0], limit), *lengths[1:]]  # what is not fed takes no room
        elif options.kind == "pt":
            after = [min(lengths[0], limit)]
        else:
            after = cut_turns(lengths, limit)
        if after != lengths:
            kept[start:end] = after
            changed[example] = True
    return kept, changed


def example_tokens(segments: NDArray[np.int32], counts: NDArray[np.int32], options: CutOptions) -> NDArray[np.int64]:
    """Tokens of each example, the appended EOS counted in.

    Args:
        segments (NDArray[int32], [segments]): Length of each segment, original or kept.
        counts (NDArray[int32], [examples]): Segments of each example.
        options: Whether an EOS is appended.

    Returns:
        NDArray[int64], [examples].
    """
    borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=borders[1:])
    return sums(segments, borders) + options.reserved_tokens


def trained_tokens(
    segments: NDArray[np.int32], trained: NDArray[np.uint8], counts: NDArray[np.int32], options: CutOptions
) -> NDArray[np.int64]:
    """Tokens of each example that carry a loss. EOS labels on sources count, as they are trained.

    Args:
        segments (NDArray[int32], [segments]): Length of each segment, original or kept.
        trained (NDArray[uint8], [segments]): 1 where a segment carries a loss.
        counts (NDArray[int32], [examples]): Segments of each example.
        options: Whether an EOS is appended, and how sources are labelled.

    Returns:
        NDArray[int64], [examples].
    """
    borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=borders[1:])
    result = sums(np.where(trained != 0, segments, 0).astype(np.int32), borders)
    if options.reserved_tokens:
        marks = eos_marks(segments, trained, counts, borders, options)
        result = result + sums(marks.astype(np.int32), borders) + ends_trained(segments, trained, borders, options)
    return result


def eos_marks(
    segments: NDArray[np.int32],
    trained: NDArray[np.uint8],
    counts: NDArray[np.int32],
    borders: NDArray[np.int64],
    options: CutOptions,
) -> NDArray[np.bool_]:
    """Which segments are sources whose first token gets EOS as its label.

    Args:
        segments (NDArray[int32], [segments]): Kept length of each segment; an empty one has no first token.
        trained (NDArray[uint8], [segments]): 1 where a segment carries a loss.
        counts (NDArray[int32], [examples]): Segments of each example, an even number.
        borders (NDArray[int64], [examples + 1]): First segment of each example, and the end.
        options: The order of the cut, and whether the first source is labelled.

    Returns:
        NDArray[bool], [segments].
    """
    position = np.arange(len(segments), dtype=np.int64) - np.repeat(borders[:-1], counts)
    marks = (position % 2 == 0) & (segments > 0) & (trained == 0)
    if not options.label_first_source:
        # the pair that is cut first has none: the first one, or the last one when the order is reversed
        first = np.repeat(counts.astype(np.int64) - 2, counts) if options.from_end else 0
        marks &= position != first
    if not options.from_end:  # with mask_history upstream marks every turn but the last, trained or not
        after_trained = np.ones(len(segments), dtype=np.bool_)
        after_trained[1:] = trained[:-1] != 0
        marks &= after_trained | (position == 0)
    return np.asarray(marks)


def ends_trained(
    segments: NDArray[np.int32], trained: NDArray[np.uint8], borders: NDArray[np.int64], options: CutOptions
) -> NDArray[np.bool_]:
    """Whether the EOS after each example is trained: whether the last answer that is left is.

    Args:
        segments (NDArray[int32], [segments]): Kept length of each segment.
        trained (NDArray[uint8], [segments]): 1 where a segment carries a loss.
        borders (NDArray[int64], [examples + 1]): First segment of each example, and the end.
        options: The order of the cut.

    Returns:
        NDArray[bool], [examples].
    """
    start, last = borders[:-1], borders[1:] - 1
    if not options.from_end:  # else the last turn is the one that is kept
        filled = np.maximum.accumulate(np.where(segments > 0, np.arange(len(segments)), -1))[last]
        last = np.where(filled >= start, filled, last)
    return np.asarray(trained[start + ((last - start) | 1)] != 0)
