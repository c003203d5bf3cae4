"""Encode: a batch of rendered examples becomes flat arrays. One tokenizer call a batch, no Python call a token.

    pieces   "sys A"  151644  "q1"  "a1"  "sys A" ...        each text once: a repeated one is encoded once
    ids      [ . . . . . . . . . . . . . . . . . ]           int32, all examples end to end
    halves   [ 7, 12, 5, 9, ... ]                            int32, tokens of each half, example by example
    trained  [ 0,  1, 0, 1, ... ]                            uint8, one a half
    counts   [ 4, 2, ... ]                                   int32, halves of each example

Lengths are those before any cut: truncation is applied to the lengths later, so a new `cutoff_len` needs no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .render import Rendered
from .tokenize import Encoder

VERSION = 1


class Encoded(NamedTuple):
    """A batch. Shapes: ids (tokens,), halves and trained (halves,), counts and labels (examples,)."""

    ids: NDArray[np.int32]
    halves: NDArray[np.int32]
    trained: NDArray[np.uint8]
    counts: NDArray[np.int32]
    labels: NDArray[np.uint8]


def encode(examples: Sequence[Rendered], encoder: Encoder) -> Encoded:
    """Tokenizes a batch. The order of examples, halves and pieces is kept."""
    whole = getattr(encoder, "examples", None)  # an encoder of whole examples: stages.auto_encode.WholeTexts
    if whole is not None:
        found: Encoded = whole(examples)
        return found
    texts: dict[str, int] = {}
    literals: dict[int, int] = {}
    pieces: list[int] = []  # >= 0: index of a text; < 0: -1 - index of a literal id
    pieces_of_half: list[int] = []
    trained: list[int] = []
    counts: list[int] = []
    labels: list[int] = []
    for halves, flags, label in examples:
        counts.append(len(halves))
        trained += flags
        labels.append(label)
        for half in halves:
            pieces_of_half.append(len(half))
            for piece in half:
                if isinstance(piece, str):
                    pieces.append(texts.setdefault(piece, len(texts)))
                else:
                    pieces.append(-1 - literals.setdefault(piece, len(literals)))
    flat, offsets = encoder.encode(list(texts))
    starts = np.concatenate([offsets[:-1], np.arange(len(literals), dtype=np.int64) + offsets[-1]])
    lengths = np.concatenate([np.diff(offsets), np.ones(len(literals), dtype=np.int64)])
    index = np.asarray(pieces, dtype=np.int64)
    index = np.where(index >= 0, index, len(texts) - 1 - index)
    ids = gather(np.concatenate([flat, np.fromiter(literals, dtype=np.int32)]), starts[index], lengths[index])
    ends = np.zeros(len(index) + 1, dtype=np.int64)
    np.cumsum(lengths[index], out=ends[1:])
    borders = np.zeros(len(pieces_of_half) + 1, dtype=np.int64)
    np.cumsum(pieces_of_half, out=borders[1:])
    return Encoded(
        ids=ids,
        halves=np.diff(ends[borders]).astype(np.int32),
        trained=np.asarray(trained, dtype=np.uint8),
        counts=np.asarray(counts, dtype=np.int32),
        labels=np.asarray(labels, dtype=np.uint8),
    )


def gather(source: NDArray[np.int32], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """Runs of `source` joined: run i is source[starts[i] : starts[i] + lengths[i]]."""
    total = int(lengths.sum())
    if total == 0:
        return np.empty(0, dtype=np.int32)
    ends = np.cumsum(lengths)
    shift = np.repeat(starts - (ends - lengths), lengths)
    shift += np.arange(total, dtype=np.int64)
    result: NDArray[np.int32] = source[shift]
    return result
