"""Encode: a batch of rendered examples becomes flat arrays. One tokenizer call a batch, no Python call a token.

    pieces    "sys A"  151644  "q1"  "a1"  "sys A" ...        each text once: a repeated one is encoded once
    ids       [ . . . . . . . . . . . . . . . . . ]           int32, all examples end to end
    segments  [ 7, 12, 5, 9, ... ]                            int32, tokens of each segment, example by example
    trained   [ 0,  1, 0, 1, ... ]                            uint8, one a segment
    counts    [ 4, 2, ... ]                                   int32, segments of each example

Lengths are those before any cut: truncation is applied to the lengths later, so a new `cutoff_len` needs no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.core.arrays import gather
from stages.core.segments import Rendered

from .backends import Encoder


class Encoded(NamedTuple):
    """A batch. Shapes: ids (tokens,), segments and trained (segments,), counts and labels (examples,)."""

    ids: NDArray[np.int32]
    segments: NDArray[np.int32]
    trained: NDArray[np.uint8]
    counts: NDArray[np.int32]
    labels: NDArray[np.uint8]


def encode(examples: Sequence[Rendered], encoder: Encoder) -> Encoded:
    """Tokenizes a batch. The order of examples, segments and pieces is kept."""
    whole = getattr(encoder, "examples", None)  # an encoder of whole examples: stages.tokenize.whole_texts.WholeTexts
    if whole is not None:
        found: Encoded = whole(examples)
        return found
    segments = list(chain.from_iterable(example.segments for example in examples))
    pieces = list(chain.from_iterable(segments))
    once = dict.fromkeys(pieces)  # texts, and ids that are inserted as they are
    place = dict(zip(once, range(len(once)), strict=True))
    is_text = np.fromiter((type(piece) is str for piece in place), dtype=np.bool_, count=len(place))
    flat, offsets = encoder.encode([piece for piece in place if type(piece) is str])
    literals = np.array([piece for piece in place if type(piece) is not str], dtype=np.int32)
    starts = np.empty(len(place), dtype=np.int64)
    lengths = np.ones(len(place), dtype=np.int64)
    starts[is_text], lengths[is_text] = offsets[:-1], np.diff(offsets)
    starts[~is_text] = np.arange(len(literals), dtype=np.int64) + offsets[-1]
    index = np.fromiter(map(place.__getitem__, pieces), dtype=np.int64, count=len(pieces))
    ids = gather(np.concatenate([flat, literals]), starts[index], lengths[index])
    ends = np.zeros(len(index) + 1, dtype=np.int64)
    np.cumsum(lengths[index], out=ends[1:])
    borders = np.zeros(len(segments) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, segments), dtype=np.int64, count=len(segments)), out=borders[1:])
    return Encoded(
        ids=ids,
        segments=np.diff(ends[borders]).astype(np.int32),
        trained=np.array(list(chain.from_iterable(example.trained for example in examples)), dtype=np.uint8),
        counts=np.array([len(example.segments) for example in examples], dtype=np.int32),
        labels=np.array([example.label for example in examples], dtype=np.uint8),
    )
