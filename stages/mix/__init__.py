"""Mix: which records of which source are taken, in what order, and which of them validate. Indices in, indices out.

    subset      which records of a source, and which of the whole set validate
    interleave  several sources as one list

Refused, where upstream crashes or never ends: an empty source, a share of zero where every source has to run out, a
split that leaves a side without records.

    concat            one source after the other; nothing lost, nothing twice
    interleave_under  ends when the first source has run out; the rest of the others is not used
    interleave_over   ends when the last source has run out; the others start again
    interleave_once   as _over, but a source that has run out is passed over: nothing lost, nothing twice
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.errors import did_you_mean

SPLIT_OFF = 1e-6  # val_size up to here means no split, as upstream
MOST_DRAWS = 500_000_000  # four bytes a draw; a mixture that needs more has a mistake in its probabilities
BLOCK_DRAWS = 64_000  # a generator gives the same stream whatever the block

Sources = NDArray[np.int32]
Positions = NDArray[np.int64]


class Mixer(NamedTuple):
    """One strategy. interleaves: sources take turns, or are drawn by share. to_last: it goes on until the last source
    has run out, not the first. again: a source that has run out starts again."""

    interleaves: bool
    to_last: bool
    again: bool


MIXERS = {
    "concat": Mixer(interleaves=False, to_last=True, again=False),
    "interleave_under": Mixer(interleaves=True, to_last=False, again=False),
    "interleave_over": Mixer(interleaves=True, to_last=True, again=True),
    "interleave_once": Mixer(interleaves=True, to_last=True, again=False),
}


@dataclass(frozen=True)
class MixOptions:
    """How sources become one list. Names are LLaMA-Factory's keys, without `mix_` and `interleave_`.

    probs: one share a source, in the order of the sources, adding up to 1; None takes the sources in turn.
    seed: 0 to 2**32 - 1. max_samples: most records taken from each source. val_size: see `split`. shuffle: whether the
    mixed list is shuffled (`datasets`' order for the seed).
    """

    strategy: str = "concat"
    probs: tuple[float, ...] | None = None
    seed: int = 42
    max_samples: int | None = None
    val_size: float = 0.0
    shuffle: bool = False


def problems(options: MixOptions, sources: int) -> list[str]:
    """Everything that is wrong with the options for that many sources, one line each; needs no data."""
    found = []
    strategy, probs = options.strategy, options.probs
    mixer = MIXERS.get(strategy)
    if mixer is None:
        near = did_you_mean(strategy, MIXERS)
        found.append(f"mix_strategy: {strategy!r} is not one of {', '.join(MIXERS)}{near}")
    if probs is not None:
        if mixer is not None and not mixer.interleaves:
            found.append(
                "interleave_probs: concat takes every record whatever the shares; choose an interleave_* strategy"
            )
        if len(probs) != sources:
            found.append(f"interleave_probs: {len(probs)} shares for {sources} data sets; give one for each, in order")
        if not all(0 <= share <= 1 for share in probs):
            found.append(f"interleave_probs: {_listed(probs)}: every share lies between 0 and 1")
        elif abs(math.fsum(probs) - 1) > 1e-8:  # the tolerance of numpy's choice, so that what passes here is drawn
            found.append(f"interleave_probs: {_listed(probs)} add up to {math.fsum(probs):.6g}, not to 1")
        elif mixer is not None and mixer.interleaves and mixer.to_last and sources > 1 and 0 in probs:
            found.append(f"interleave_probs: {strategy} lasts until all data sets run out; one with share 0 never does")
    if not 0 <= options.seed < 2**32:
        found.append(f"seed: {options.seed} is not between 0 and {2**32 - 1}")
    if options.max_samples is not None and options.max_samples < 1:
        found.append(f"max_samples: {options.max_samples} takes no record; leave the key out to take all")
    if not options.val_size >= 0 or math.isinf(options.val_size):
        found.append(f"val_size: {options.val_size} is neither a share (below 1) nor a count of records")
    elif options.val_size == 1:
        found.append("val_size: 1 is a share and leaves nothing to train on; give a share below 1 or a count above 1")
    return found


def source_name(names: Sequence[str], at: int) -> str:
    """The name of a source in a message; one without a name is counted from 1."""
    return names[at] if at < len(names) else f"source {at + 1}"


def _listed(probs: Sequence[float]) -> str:
    return ", ".join(f"{share:g}" for share in probs)
