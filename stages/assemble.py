"""Assemble: encoded halves become training rows: cut, labelled, joined.

    halves   s s s | t t | s s | t t t        lengths before the cut
    kept     s s s | t t | s   | t t          after `cutoff_len`
    ids      s s s   t t   s     t t
    labels   - - -   t t   -     t t          -: -100, no loss

`efficient_eos` templates write no EOS after an answer: one EOS ends the example, and the first token of each later
source carries EOS as its label, so that the model learns to stop there (LLaMA-Factory, research note §4.3). After an
answer of weight 0, which is no idea of upstream's, neither is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .encode import gather
from .truncate import cut_preference, cut_turns

IGNORE = -100
VERSION = 1
OVERLONG = {  # what happens to an example longer than the limit
    "truncate": "its segments are cut in proportion",
    "drop": "it is left out of the rows",
    "error": "its record is rejected",
    "split": "its turns become several examples",
}


@dataclass(frozen=True)
class CutOptions:
    """How lengths are cut and labels written.

    kind: lm | pref | unpaired | prompt | pt. limit_tokens: most tokens an example keeps. from_end: `mask_history`.
    efficient_eos: the EOS id to append to lm examples, or None. label_first_source: LLaMA-Factory 0.9.2 wrote EOS as
    the first label of the very first source as well.
    """

    kind: str
    limit_tokens: int
    from_end: bool = False
    efficient_eos: int | None = None
    label_first_source: bool = False

    @property
    def reserved_tokens(self) -> int:
        """Tokens that every example spends beside its halves."""
        return 1 if self.efficient_eos is not None and self.kind == "lm" else 0


def example_limit(cutoff_tokens: int, *, kind: str, packed: bool, compat: str) -> int:
    """Most tokens that an example keeps under a `cutoff_len`."""
    if not packed:
        return cutoff_tokens
    if kind == "pt":
        return 1 << 30  # documents run on into the next row
    # upstream cuts at one less, since its packs reserve a pad; 0.9.2 did not
    return cutoff_tokens if compat == "llamafactory-0.9.2" else cutoff_tokens - 1


def cut(
    halves: NDArray[np.int32], counts: NDArray[np.int32], options: CutOptions
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Kept length of every half, and for each example whether anything was cut. Shapes (halves,), (examples,)."""
    kept = halves.copy()
    borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=borders[1:])
    changed = np.zeros(len(counts), dtype=np.bool_)
    if not len(counts):
        return kept, changed
    totals = _sums(halves, borders) + options.reserved_tokens
    limit = options.limit_tokens
    for example in np.nonzero(totals > limit)[0].tolist():
        start, end = int(borders[example]), int(borders[example + 1])
        lengths = halves[start:end].tolist()
        if options.kind == "lm":
            after = cut_turns(lengths, limit, from_end=options.from_end, reserved_tokens=options.reserved_tokens)
        elif options.kind == "pref":
            after = list(cut_preference(lengths[0], lengths[1], lengths[2], limit))
        elif options.kind == "pt":
            after = [min(lengths[0], limit)]
        else:
            after = cut_turns(lengths, limit)
        if after != lengths:
            kept[start:end] = after
            changed[example] = True
    return kept, changed


def _sums(values: NDArray[np.int32], borders: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of each run of `values`; runs may be empty."""
    running = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=running[1:])
    return np.asarray(running[borders[1:]] - running[borders[:-1]])


def example_tokens(halves: NDArray[np.int32], counts: NDArray[np.int32], options: CutOptions) -> NDArray[np.int64]:
    """Tokens of each example for these (kept or original) half lengths, the appended EOS counted in."""
    borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=borders[1:])
    return _sums(halves, borders) + options.reserved_tokens


def trained_tokens(
    halves: NDArray[np.int32], trained: NDArray[np.uint8], counts: NDArray[np.int32], options: CutOptions
) -> NDArray[np.int64]:
    """Tokens of each example that carry a loss. EOS labels on sources count, as they are trained."""
    borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=borders[1:])
    result = _sums(np.where(trained != 0, halves, 0).astype(np.int32), borders)
    if options.reserved_tokens:
        marks = _eos_marks(halves, trained, counts, borders, options)
        result = result + _sums(marks.astype(np.int32), borders) + _ends_trained(halves, trained, borders, options)
    return result


def _eos_marks(
    halves: NDArray[np.int32],
    trained: NDArray[np.uint8],
    counts: NDArray[np.int32],
    borders: NDArray[np.int64],
    options: CutOptions,
) -> NDArray[np.bool_]:
    """Which halves are sources whose first token gets EOS as its label."""
    position = np.arange(len(halves), dtype=np.int64) - np.repeat(borders[:-1], counts)
    marks = (position % 2 == 0) & (halves > 0) & (trained == 0)
    if not options.label_first_source:
        # the pair that is cut first has none: the first one, or the last one when the order is reversed
        first = np.repeat(counts.astype(np.int64) - 2, counts) if options.from_end else 0
        marks &= position != first
    if not options.from_end:  # with mask_history upstream marks every turn but the last, trained or not
        after_trained = np.ones(len(halves), dtype=np.bool_)
        after_trained[1:] = trained[:-1] != 0
        marks &= after_trained | (position == 0)
    return np.asarray(marks)


def _ends_trained(
    halves: NDArray[np.int32], trained: NDArray[np.uint8], borders: NDArray[np.int64], options: CutOptions
) -> NDArray[np.bool_]:
    """Whether the EOS after each example is trained: whether the answer that it ends is, the last one left."""
    start, last = borders[:-1], borders[1:] - 1
    if not options.from_end:  # else the last turn is the one that is kept
        filled = np.maximum.accumulate(np.where(halves > 0, np.arange(len(halves)), -1))[last]
        last = np.where(filled >= start, filled, last)
    return np.asarray(trained[start + ((last - start) | 1)] != 0)


class Rows(NamedTuple):
    """Assembled lm examples, end to end: ids and labels (tokens,), borders (examples + 1,)."""

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    borders: NDArray[np.int64]


def assemble_lm(
    ids: NDArray[np.int32],
    halves: NDArray[np.int32],
    kept: NDArray[np.int32],
    trained: NDArray[np.uint8],
    counts: NDArray[np.int32],
    options: CutOptions,
) -> Rows:
    """Joins lm (or pt) examples with their labels. `ids` holds the uncut halves end to end."""
    if np.array_equal(halves, kept):
        out = ids
    else:
        starts = np.zeros(len(halves), dtype=np.int64)
        np.cumsum(halves[:-1], out=starts[1:])
        out = gather(ids, starts, kept.astype(np.int64))
    labels = np.where(np.repeat(trained != 0, kept), out, np.int32(IGNORE)).astype(np.int32, copy=False)
    half_borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=half_borders[1:])
    borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(_sums(kept, half_borders), out=borders[1:])
    eos = options.efficient_eos
    if eos is not None and options.kind == "lm":
        marks = _eos_marks(kept, trained, counts, half_borders, options)
        first_tokens = np.zeros(len(kept), dtype=np.int64)
        np.cumsum(kept[:-1], out=first_tokens[1:])
        labels = labels.copy()
        labels[first_tokens[marks]] = eos
        ends = np.where(_ends_trained(kept, trained, half_borders, options), np.int32(eos), np.int32(IGNORE))
        out = np.insert(out, borders[1:], np.int32(eos))
        labels = np.insert(labels, borders[1:], ends)
        borders = borders + np.arange(len(borders), dtype=np.int64)
    return Rows(out, labels, borders)


def assemble_parts(
    ids: NDArray[np.int32], halves: NDArray[np.int32], kept: NDArray[np.int32], parts: int
) -> list[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Splits examples of `parts` halves each into that many columns: (values, borders) of prompt, chosen, ..."""
    starts = np.zeros(len(halves), dtype=np.int64)
    np.cumsum(halves[:-1], out=starts[1:])
    columns = []
    for part in range(parts):
        lengths = kept[part::parts].astype(np.int64)
        borders = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=borders[1:])
        columns.append((gather(ids, starts[part::parts], lengths), borders))
    return columns
