"""Mix: which records of which source are taken, in what order, and which of them validate. Indices in, indices out.

    sample   source a: 0 1 2 3 4   num_samples 3 ->  4 1 3           record indices, one call a source
    mix      a a a a | b b         interleave_under ->  a0 b0 a1 b1  (source, position in that source's sample)
    split    8 rows, val_size 2    ->  train 5 0 4 1 7 6 | validation 2 3

The same seed gives the order that LLaMA-Factory gets from numpy and `datasets` (interleave_datasets, train_test_split),
where those give one at all. Refused, as there they crash or never end: an empty source, a share of zero where every
source has to run out, a split that leaves a side without records.

    concat            one source after the other; nothing lost, nothing twice
    interleave_under  ends when the first source has run out; the rest of the others is not used
    interleave_over   ends when the last source has run out; the others start again
    interleave_once   as _over, but a source that has run out is left out: nothing lost, nothing twice

Cost: O(rows), about 30 bytes a row, 0.1 s a million rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from registry.errors import UsageFault, did_you_mean

VERSION = 1
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


def sample(records: int, num_samples: int | None, max_samples: int | None, rng: np.random.RandomState) -> Positions:
    """Record indices of one source, shape (taken,), in the order LLaMA-Factory takes them.

    num_samples N: a random permutation cut to N; when N exceeds the records, all of them once and then N - records
    drawn with replacement. max_samples: the first so many of the result. `rng` stands for numpy's global state, which
    upstream seeds once: give one `RandomState(seed)` to all sources in their order, those of `eval_dataset` last.

    Raises UsageFault when either count is below 1. A source without records gives an empty result.
    """
    for name, count in (("num_samples", num_samples), ("max_samples", max_samples)):
        if count is not None and count < 1:
            raise UsageFault(f"{name}: {count} takes no record; leave the key out to take all")
    if num_samples is None or not records:
        taken = np.arange(records, dtype=np.int64)
    else:
        taken = rng.permutation(records)[:num_samples].astype(np.int64)
        if num_samples > records:
            again = rng.choice(records, num_samples - records).astype(np.int64)
            taken = np.concatenate([taken, again])
    return taken if max_samples is None else taken[:max_samples]


def mix(sizes: Sequence[int], options: MixOptions, names: Sequence[str] = ()) -> tuple[Sources, Positions]:
    """The final order: (source index, position within that source's sampled list), both of shape (rows,).

    sizes: length of each source's sampled list. names: of the sources, for messages. One source alone is taken as it
    is, whatever the strategy.

    Raises UsageFault, with all mistakes at once, for options that do not fit (see `problems`), for an empty source
    among several that are interleaved, and for shares so small that the mixture would never end.
    """
    wrong = problems(options, len(sizes))
    mixer = MIXERS.get(options.strategy)
    several = mixer is not None and mixer.interleaves and len(sizes) > 1
    if several:
        wrong += [f"dataset: {_name(names, at)} has no record to mix" for at, size in enumerate(sizes) if size < 1]
    if wrong or mixer is None:
        raise UsageFault(wrong)
    lengths = np.asarray(sizes, dtype=np.int64)
    if not several:
        source, position = _concat(lengths)
    elif options.probs is None:
        source, position = _in_turn(lengths, mixer)
    else:
        _refuse_endless(lengths, options.probs, options, names)
        source, position = _drawn(lengths, options.probs, options)
    if options.shuffle:
        order = np.random.default_rng(options.seed).permutation(len(source))
        source, position = source[order], position[order]
    return source, position


def _concat(lengths: Positions) -> tuple[Sources, Positions]:
    source = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    starts = np.cumsum(lengths) - lengths
    return source, np.arange(len(source), dtype=np.int64) - np.repeat(starts, lengths)


def _in_turn(lengths: Positions, mixer: Mixer) -> tuple[Sources, Positions]:
    """a b c a b c ...; up to the last source, those that have run out and do not start again are passed over."""
    if mixer.to_last and not mixer.again:
        source, position = _concat(lengths)
        turn = np.argsort(position, kind="stable")  # stable: within a turn the sources keep their order
        return source[turn], position[turn]
    turns = int(lengths.max() if mixer.to_last else lengths.min())
    source = np.tile(np.arange(len(lengths), dtype=np.int32), turns)
    return source, np.repeat(np.arange(turns, dtype=np.int64), len(lengths)) % lengths[source]


def _drawn(lengths: Positions, probs: Sequence[float], options: MixOptions) -> tuple[Sources, Positions]:
    """A random source for every row, until the strategy's end."""
    mixer = MIXERS[options.strategy]
    once = mixer.to_last and not mixer.again
    drawable = np.asarray(probs) > 0
    ends = np.all if mixer.to_last else np.any
    rng = np.random.default_rng(options.seed)
    sources: list[Sources] = []
    positions: list[Positions] = []
    counts = np.zeros(len(lengths), dtype=np.int64)
    last = np.full(len(lengths), -1, dtype=np.int64)  # row at which each source runs out
    rows = 0
    while not ends(last[drawable] >= 0):
        block = rng.choice(len(lengths), size=BLOCK_DRAWS, p=probs).astype(np.int32)
        position = np.empty(BLOCK_DRAWS, dtype=np.int64)
        for at in np.nonzero(drawable)[0].tolist():
            hits = np.nonzero(block == at)[0]
            position[hits] = counts[at] + np.arange(len(hits))
            nth = int(lengths[at] - 1 - counts[at])  # the hit that takes the source's last record
            if 0 <= nth < len(hits):
                last[at] = rows + hits[nth]
            counts[at] += len(hits)
        if once:
            fresh = position < lengths[block]
            block, position = block[fresh], position[fresh]
        else:
            position %= lengths[block]
        sources.append(block)
        positions.append(position)
        rows += BLOCK_DRAWS
    source, position = np.concatenate(sources), np.concatenate(positions)
    if once:  # what follows the last source's end was all passed over
        return source, position
    ended = last[last >= 0]
    stop = int(ended.max() if mixer.to_last else ended.min()) + 1
    return source[:stop], position[:stop]


def _refuse_endless(lengths: Positions, probs: Sequence[float], options: MixOptions, names: Sequence[str]) -> None:
    draws = [size / share if share else math.inf for size, share in zip(lengths.tolist(), probs, strict=True)]
    expected = max(draws) if MIXERS[options.strategy].to_last else min(draws)
    if expected > MOST_DRAWS:
        slowest = draws.index(expected)
        raise UsageFault(
            f"interleave_probs: {_name(names, slowest)} has {int(lengths[slowest]):,} records at a share of "
            f"{probs[slowest]:g}; {options.strategy} would draw {expected:.2g} times before they run out",
            hint=f"give it a larger share, or fewer records (max_samples); the most we draw is {MOST_DRAWS:,}",
        )


def split(total: int, val_size: float, seed: int) -> tuple[Positions, Positions]:
    """(train positions, validation positions), each in the order `datasets`' train_test_split gives them.

    val_size: up to 1e-6 is off (then train is 0 .. total - 1 in order); below 1 a share, rounded up; above 1 a count,
    its fraction cut off. Together the two sides hold every position exactly once.

    Raises UsageFault when val_size is negative or exactly 1, or leaves a side empty. No records give two empty sides.
    """
    wrong = problems(MixOptions(seed=seed, val_size=val_size), 1)
    if wrong:
        raise UsageFault(wrong)
    if val_size <= SPLIT_OFF or not total:
        return np.arange(total, dtype=np.int64), np.empty(0, dtype=np.int64)
    validation = int(val_size) if val_size > 1 else math.ceil(val_size * total)
    if validation >= total:
        raise UsageFault(
            f"val_size: {val_size:g} takes {validation} of {total} records for validation and leaves none to train on",
            hint="give a smaller share or count",
        )
    order = np.random.default_rng(seed).permutation(total).astype(np.int64, copy=False)
    return order[validation:], order[:validation]


def _name(names: Sequence[str], at: int) -> str:
    return names[at] if at < len(names) else f"source {at + 1}"


def _listed(probs: Sequence[float]) -> str:
    return ", ".join(f"{share:g}" for share in probs)
