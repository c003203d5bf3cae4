"""Arrange: from kept examples to rows: sample, mix, split, shuffle, pack. Works on lengths and indices only.

    per source   records -> sample -> positions
    all sources  positions -> mix -> one order -> split -> drop what was rejected or too long -> shuffle -> pack -> rows

The result is a function of the input and the options, never of workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from registry.datasets import split_parts
from stages.leftout import LeftOut
from stages.lengths import DROPPED, KEPT
from stages.mix import SPLIT_OFF, MixOptions, mix, sample, split

from .collect import Collected
from .plan import Plan

Index = NDArray[np.int64]


@dataclass
class Table:
    """Every kept or dropped example of the run, end to end in input order (items: examples)."""

    spools: list[str]
    spool: NDArray[np.int32]
    token_start: NDArray[np.int64]
    ids: NDArray[np.int32]  # uncut ids in the spool, without an appended EOS
    half_start: NDArray[np.int64]
    halves: NDArray[np.int32]
    tokens_in: NDArray[np.int32]
    trained_in: NDArray[np.int32]
    tokens: NDArray[np.int32]
    trained: NDArray[np.int32]
    fate: NDArray[np.uint8]
    hash: NDArray[np.uint64]
    source: NDArray[np.int32]
    file: NDArray[np.int32]
    line: Index
    record: Index  # index in its file
    position: Index  # index in its source


def make_table(collected: Collected, reserved_tokens: int) -> Table:
    """Joins the chunks' arrays. reserved_tokens: appended EOS of each example, which no spool holds."""
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in Table.__dataclass_fields__ if name != "spools"}
    spools: list[str] = []
    for source, at, result in collected.chunks:
        examples = result.examples
        assert examples is not None
        count = len(examples.record)
        ids = examples.tokens_in - np.int32(reserved_tokens)
        starts = np.zeros(count, dtype=np.int64)
        halves = np.zeros(count, dtype=np.int64)
        if count:
            np.cumsum(ids[:-1], out=starts[1:])
            np.cumsum(examples.halves[:-1], out=halves[1:])
        rows: dict[str, NDArray[Any]] = {
            "spool": np.full(count, len(spools), dtype=np.int32),
            "token_start": starts,
            "ids": ids,
            "half_start": halves,
            "halves": examples.halves,
            "tokens_in": examples.tokens_in,
            "trained_in": examples.trained_in,
            "tokens": examples.tokens,
            "trained": examples.trained,
            "fate": examples.fate,
            "hash": examples.hash,
            "source": np.full(count, source, dtype=np.int32),
            "file": np.full(count, at, dtype=np.int32),
            "line": examples.line,
            "record": examples.record,
            "position": examples.record + collected.files[at].base,
        }
        for name, values in rows.items():
            columns[name].append(values)
        spools.append(examples.spool)
    joined = {name: np.concatenate(parts) if parts else np.empty(0, dtype=np.int64) for name, parts in columns.items()}
    return Table(spools=spools, **joined)  # type: ignore[arg-type]  # dtypes are those of the parts


@dataclass
class SourceLedger:
    """The account of one source, in records and tokens (contract.md `ledger`)."""

    read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    not_sampled: int = 0
    repeated: int = 0
    examples: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    tokens_in: int = 0
    tokens_lost: Counter[str] = field(default_factory=Counter)
    trained_tokens_in: int = 0
    trained_tokens_lost: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    trained_tokens: int = 0

    def as_dict(self) -> dict[str, object]:
        """As it stands in the manifest."""
        return {
            name: dict(sorted(value.items())) if isinstance(value := getattr(self, name), Counter) else value
            for name in self.__dataclass_fields__
        }

    def problems(self) -> list[str]:
        """What does not add up; empty when the ledger closes."""
        wrong = []
        left = self.read - sum(self.rejected.values()) - self.not_sampled + self.repeated
        right = self.examples + sum(self.dropped.values())
        if left != right:
            wrong.append(f"records: {left} should be {right}")
        if self.tokens_in - sum(self.tokens_lost.values()) != self.tokens:
            wrong.append(f"tokens: {self.tokens_in} - {dict(self.tokens_lost)} is not {self.tokens}")
        if self.trained_tokens_in - sum(self.trained_tokens_lost.values()) != self.trained_tokens:
            wrong.append(
                f"trained: {self.trained_tokens_in} - {dict(self.trained_tokens_lost)} is not {self.trained_tokens}"
            )
        return wrong


def total(ledgers: Sequence[SourceLedger]) -> SourceLedger:
    """The sum of several accounts."""
    result = SourceLedger()
    for ledger in ledgers:
        for name in SourceLedger.__dataclass_fields__:
            value = getattr(ledger, name)
            if isinstance(value, Counter):
                getattr(result, name).update(value)
            else:
                setattr(result, name, getattr(result, name) + value)
    return result


@dataclass
class Arranged:
    """The order of examples in each split, and the account."""

    splits: dict[str, Index]  # split name -> indices into the table, in order, repeats included
    ledgers: list[SourceLedger]
    planned: dict[str, Index]  # the same before the length limit took any out and before the shuffle
    unused_split: bool = False


def arrange(plan: Plan, collected: Collected, table: Table) -> Arranged:
    """Samples, mixes and splits. Every example that leaves is counted here."""
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
    """The order in which a split's examples reach the packer."""
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


def left_out(table: Table, arranged: Arranged) -> LeftOut:
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
    return LeftOut(
        split=splits,
        place=np.concatenate(places),
        source=table.file[index],
        line=table.line[index],
        record=table.record[index],
        spool=table.spool[index],
        half_start=table.half_start[index],
        halves=table.halves[index],
    )


class Lengths(Protocol):
    """What an account is made of, one item an example: lengths before and after the cut, whose it is, its fate."""

    source: NDArray[np.int32]
    tokens_in: NDArray[np.int32]
    trained_in: NDArray[np.int32]
    tokens: NDArray[np.int32]
    trained: NDArray[np.int32]
    fate: NDArray[np.uint8]


def ledgers(
    table: Lengths,
    orders: Mapping[str, Index],
    read: Sequence[int],
    rejected: Sequence[Counter[str]],
    record_of: Index | None = None,
) -> list[SourceLedger]:
    """The account of each source. orders: indices of the kept examples of each split, repeats included. read, rejected:
    records of each source, and those of them that were rejected, by rule. record_of: the record of each example in its
    source; None = every example is a record of its own. `repeated` counts what stands there more than once, by sampling
    or because `overlong: split` made several examples of it."""
    if record_of is None:
        record_of = np.arange(len(table.source))
    used = np.zeros(len(table.source), dtype=np.int64)
    for order in orders.values():
        used += np.bincount(order, minlength=len(used)) if len(order) else 0
    closed = []
    for number in range(len(read)):
        ledger = SourceLedger(read=read[number], rejected=Counter(rejected[number]))
        mine = table.source == number
        kept = mine & (table.fate == KEPT)
        times = used[kept]
        dropped = int(np.count_nonzero(mine & (table.fate == DROPPED)))
        ledger.examples = int(times.sum())
        if dropped:
            ledger.dropped["length.dropped"] = dropped
        there = kept & (used > 0) | mine & (table.fate == DROPPED)
        distinct = len(np.unique(record_of[there]))
        ledger.repeated = ledger.examples + dropped - distinct
        ledger.not_sampled = ledger.read - sum(ledger.rejected.values()) - distinct
        for name, before, after in (
            ("tokens", table.tokens_in, table.tokens),
            ("trained_tokens", table.trained_in, table.trained),
        ):
            gone = mine & (table.fate == DROPPED)
            lost = getattr(ledger, f"{name}_lost")
            come_in = int((before[kept] * times).sum() + before[gone].sum())
            come_out = int((after[kept] * times).sum())
            cut = int(((before[kept] - after[kept]) * times).sum())
            setattr(ledger, f"{name}_in", come_in)
            setattr(ledger, name, come_out)
            if cut:
                lost["cutoff"] = cut
            if dropped:
                lost["length.dropped"] = int(before[gone].sum())
        closed.append(ledger)
    return closed


def why_empty(ledgers: Sequence[SourceLedger], collected: Collected) -> str:
    """Why no record is left: what the files lack, or where the records went."""
    infos = [item.info for item in collected.files if item.info]
    if not any(info.records for info in infos):
        told = [f"{info.path}: {', '.join(note.message for note in info.notes) or 'no record'}" for info in infos]
        return "; ".join(told[:5]) + (f"; and {len(told) - 5} more files without a record" if len(told) > 5 else "")
    summed = total(ledgers)
    parts = [f"{count} rejected by {rule}" for rule, count in summed.rejected.most_common(3)]
    parts += [f"{count} {reason}" for reason, count in summed.dropped.most_common(2)]
    return ", ".join(parts) or "nothing was sampled"
