"""Arrange: from kept examples to rows: sample, mix, split, shuffle, pack. Works on lengths and indices only.

    per source   records -> sample -> positions
    all sources  positions -> mix -> one order -> split -> drop what was rejected or too long -> shuffle -> pack -> rows

The result is a function of the input and the options, never of workers.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.output.ledger import SourceLedger, ledgers, total
from pipeline.plan.types import Plan
from pipeline.runs.collect import Collected
from registry.datasets.entry import split_parts
from registry.rules import rules
from stages.core.arrays import Index
from stages.mix import SPLIT_OFF, MixOptions
from stages.mix.interleave import mix
from stages.mix.subset import sample, split
from stages.truncate.cut_findings import KEPT
from stages.writers.excluded import Excluded

from .example_table import Table


@dataclass
class Arranged:
    """The order of examples in each split, and the account."""

    splits: dict[str, Index]  # split name -> indices into the table, in order, repeats included
    ledgers: list[SourceLedger]
    planned: dict[str, Index]  # the same before the length limit took any out and before the shuffle
    unused_split: bool = False


def arrange(plan: Plan, collected: Collected, table: Table) -> Arranged:
    """Samples, mixes and splits. Every example that leaves is counted here.

    Args:
        plan: Sources, and the options of sampling, mixing, splitting and shuffling.
        collected: Records read and rejected, by file.
        table: All examples in input order.

    Returns:
        The order of each split, and a closed account of each source.
    """
    config = plan.config
    seed = config.mix.seed
    orders: dict[str, Index] = {}
    read = Counter(dict.fromkeys(range(len(plan.sources)), 0))
    for item in collected.files:
        read[item.source] += item.read + item.not_taken
    pieces = _piece_counts(table)
    example_at = [_example_at(table, number, read[number]) for number in range(len(plan.sources))]
    names = list(dict.fromkeys(source.split for source in plan.sources))
    rng = np.random.RandomState(seed)  # upstream's generator: its order is part of the result
    for name in names:
        members = [number for number, source in enumerate(plan.sources) if source.split == name]
        orders[name] = _order(plan, members, [read[number] for number in members], example_at, seed, rng)
    value = config.mix.val_size
    if value > SPLIT_OFF and "train" in orders and "validation" not in orders:
        train, validation = split(len(orders["train"]), value, seed)
        merged = orders["train"]
        orders["train"], orders["validation"] = merged[train], merged[validation]
    planned = {name: _pieces(order[order >= 0], pieces) for name, order in orders.items()}
    for name, order in planned.items():
        orders[name] = shuffled(order[table.fate[order] == KEPT], name, config.mix.shuffle, seed)
    rejected: list[Counter[str]] = [Counter() for _ in plan.sources]
    for item in collected.files:
        rejected[item.source].update(item.rejected)
    closed = ledgers(table, orders, [read[number] for number in range(len(plan.sources))], rejected, table.position)
    return Arranged(orders, closed, planned)


def shuffled(order: Index, split_name: str, shuffle: bool, seed: int) -> Index:
    """The order in which a split's examples reach the packer.

    Args:
        order: Indices of examples (int64, [n]).
        split_name: Only `train` is ever shuffled.
        shuffle: Whether it is.
        seed: Of the permutation.

    Returns:
        `order` itself, or a permutation of it (int64, [n]).
    """
    return np.random.default_rng(seed).permutation(order) if shuffle and split_name == "train" else order


def _example_at(table: Table, source: int, records: int) -> Index:
    """Record position in a source -> index into the table, -1 where the record was rejected before it was tokenized."""
    lookup = np.full(records, -1, dtype=np.int64)
    mine = np.nonzero(table.source == source)[0][::-1]
    lookup[table.position[mine]] = mine  # backwards: of several examples of a record the first one stays
    return lookup


def _piece_counts(table: Table) -> Index:
    """How many examples in a row come from the record of each example, counted from there on (`overlong: split`)."""
    count = len(table.position)
    if not count:
        return np.empty(0, dtype=np.int64)
    new = np.ones(count, dtype=np.bool_)
    new[1:] = (table.position[1:] != table.position[:-1]) | (table.source[1:] != table.source[:-1])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], count)
    return np.asarray(np.repeat(ends, ends - starts) - np.arange(count), dtype=np.int64)


def _pieces(order: Index, pieces: Index) -> Index:
    """An order of records' first examples with the other pieces of each record put behind it."""
    counts = pieces[order]
    if not len(order) or counts.max() == 1:
        return order
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.repeat(order, counts) + within, dtype=np.int64)


def _order(
    plan: Plan, members: list[int], sizes: list[int], example_at: list[Index], seed: int, rng: np.random.RandomState
) -> Index:
    config = plan.config
    sampled = []
    for number, size in zip(members, sizes, strict=True):
        dataset = plan.sources[number].dataset
        parts = [np.arange(first, end) for first, end in split_parts(dataset.split, size)]  # `split: train[:100]`
        there = np.concatenate(parts)
        sampled.append(there[sample(len(there), dataset.num_samples, config.data.max_samples, rng)])
    options = MixOptions(
        strategy=config.mix.mix_strategy,
        probs=config.mix.interleave_probs or None,
        seed=seed,
    )
    names = [plan.sources[number].spec.name for number in members]
    if len(names) == 1 or (options.probs is not None and len(options.probs) != len(names)):
        options = MixOptions(seed=seed)  # the shares are those of the training sets: evaluation sets follow one another
    which, position = mix([len(chosen) for chosen in sampled], options, names)
    order = np.empty(len(which), dtype=np.int64)
    for place, number in enumerate(members):
        mine = which == place
        order[mine] = example_at[number][sampled[place][position[mine]]]
    return order


def excluded(table: Table, arranged: Arranged) -> Excluded:
    """Every example that was tokenized and stands in no row: the length limit took it, or nothing sampled it."""
    splits: list[str] = []
    places: list[Index] = []
    examples: list[Index] = []
    meant = np.zeros(len(table.fate), dtype=np.bool_)
    for name, order in arranged.planned.items():
        meant[order] = True
        gone = np.nonzero(table.fate[order] != KEPT)[0]
        splits += [name] * len(gone)
        places.append(gone)
        examples.append(order[gone])
    unused = np.nonzero(~meant)[0]
    splits += [""] * len(unused)
    places.append(np.full(len(unused), -1, dtype=np.int64))
    index = np.concatenate([*examples, unused])
    return Excluded(
        split=splits,
        place=np.concatenate(places),
        source=table.file[index],
        line=table.line[index],
        record=table.record[index],
        cache=table.cache[index],
        segment_start=table.segment_start[index],
        segments=table.segments[index],
    )


def remedy_of_empty(ledgers: Sequence[SourceLedger], collected: Collected, words: Sequence[str]) -> str:
    """What to do when no record is left: the map that reads them, or the remedy of the rule that rejected them all.

    words: the command line of the run, without its command.
    """
    show = f"`prep validate {shlex.join(words)}` shows what is wrong with each record"
    hints = [found.hint for found in collected.found.findings if found.rule == "set.all-rejected" and found.hint]
    if hints:
        return hints[0]
    summed = total(ledgers)
    if len(summed.rejected) != 1 or summed.dropped:
        return show
    (rule_id,) = summed.rejected
    return f"{rules()[rule_id].hint}; {show}" if rule_id in rules() else show
