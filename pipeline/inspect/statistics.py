"""Lengths: the figures of `prep stats`, as one document: what stands in the rows, by source, turn and segment.

    sources     records, examples, turns, tokens, trained tokens; percentiles of each
    histograms  tokens, trained tokens and turns of an example, by powers of two
    cutoffs     what other limits would cost (pipeline.inspect.cutoff_costs)

Lengths are those before the cut, of each example in the rows as often as it stands there, so that they add up to the
ledger's `tokens_in` where nothing was dropped. Sums of `tokens` and `trained_tokens` are the ledger's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.output.ledger import spread
from registry.kinds import ROW_KINDS
from stages.truncate.apply import cut, example_tokens, trained_tokens

from .cutoff_costs import CUTOFFS, Cost, cutoff_table, suggest
from .history import History

SCHEMA_VERSION = 1

TURN_EDGES = (1, 2, 3, 4, 5, 7, 9, 13, 17, 33, 65)


class Pace(NamedTuple):
    """How fast a training run is, and how long: tokens_per_s of one GPU; batch_rows: rows of an optimizer step."""

    tokens_per_s: float
    gpus: int = 1
    epochs: float = 1.0
    batch_rows: int = 1


class _Rows(NamedTuple):
    """One item for each example in the rows, repeats included."""

    source: NDArray[np.int32]
    tokens: NDArray[np.int64]
    trained: NDArray[np.int64]
    turns: NDArray[np.int64]


def statistics(history: History, *, pace: Pace | None = None, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, Any]:
    """The document of `prep stats --json`.

    Args:
        history: The lengths of an output.
        pace: Speed and length of a training run, for the estimate; None for no estimate.
        cutoffs: What the cutoff table costs.
    """
    manifest = history.manifest
    used = _used(history)
    rows = _rows(history, used)
    own = int(manifest["cutoff_len"])
    table = cutoff_table(history, cutoffs)
    suggestion = suggest(table, own)
    ledger = {name: value for name, value in manifest["ledger"].items() if name != "sources"}
    everything = {name: _source(history, used, rows, number) for number, name in enumerate(history.names)}
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": manifest["kind"],
        "stage": manifest["stage"],
        "packed": manifest["packed"],
        "cutoff_len": own,
        "ledger": ledger,
        "splits": {
            name: {key: split[key] for key in ("rows", "examples", "tokens", "trained_tokens", "fill_rate")}
            for name, split in sorted(manifest["splits"].items())
        },
        "all": _figures(rows),
        "sources": everything,
        "halves": _segments(history, used, np.ones(len(history.counts), dtype=np.bool_)),
        "histograms": {
            "tokens": _powers(rows.tokens),
            "trained_tokens": _powers(rows.trained),
            "turns": _steps(rows.turns),
        },
        "cutoffs": [row.as_dict() for row in table],
        "suggestion": suggestion._asdict() if suggestion else None,
        "estimate": estimate(table, own, pace, manifest) if pace else None,
    }


def _used(history: History) -> NDArray[np.int64]:
    """How often each example stands in the rows."""
    from .cutoff_costs import fates

    kept = fates(history, int(history.manifest["cutoff_len"])) == 0
    times = np.zeros(len(history.counts), dtype=np.int64)
    for order in history.orders.values():
        times += np.bincount(order, minlength=len(times))
    return np.where(kept, times, 0)


def _rows(history: History, used: NDArray[np.int64]) -> _Rows:
    tokens = example_tokens(history.segments, history.counts, history.cut)
    trained = trained_tokens(history.segments, history.trained, history.counts, history.cut)
    turns = history.counts // 2 if history.cut.kind == "lm" else np.ones(len(history.counts), dtype=np.int64)
    return _Rows(
        np.repeat(history.source, used), np.repeat(tokens, used), np.repeat(trained, used), np.repeat(turns, used)
    )


def _source(history: History, used: NDArray[np.int64], rows: _Rows, number: int) -> dict[str, Any]:
    name = history.names[number]
    ledger = history.manifest["ledger"]["sources"][name]
    mine = _Rows(*(column[rows.source == number] for column in rows))
    return {
        "records": ledger["read"],
        "rejected": sum(ledger["rejected"].values()),
        "examples": ledger["examples"],
        "tokens": ledger["tokens"],
        "trained_tokens": ledger["trained_tokens"],
        **_figures(mine),
        "halves": _segments(history, used, history.source == number),
        "histogram": _powers(mine.tokens),
    }


def _figures(rows: _Rows) -> dict[str, Any]:
    return {
        "turns": int(rows.turns.sum()),
        "tokens_of_an_example": spread(rows.tokens),
        "trained_of_an_example": spread(rows.trained),
        "turns_of_an_example": spread(rows.turns),
    }


def _segments(history: History, used: NDArray[np.int64], mine: NDArray[np.bool_]) -> dict[str, Any]:
    """Prompts and answers (or the columns of preference rows): how many, their tokens, and how many of them are kept.

    Segments without a token are not counted. `tokens` and `kept_tokens` exclude an end mark that a template appends.
    """
    names = ROW_KINDS[history.cut.kind].segments
    kept, _ = cut(history.segments, history.counts, history.cut)
    times = np.repeat(np.where(mine, used, 0), history.counts)
    starts = np.cumsum(history.counts, dtype=np.int64) - history.counts
    place = np.arange(len(history.segments)) - np.repeat(starts, history.counts)
    found = {}
    for number, name in enumerate(names):
        here = (place % len(names) == number) & (history.segments > 0)
        lengths, count = history.segments[here].astype(np.int64), times[here]
        found[name] = {
            "count": int(count.sum()),
            "tokens": int((lengths * count).sum()),
            "kept_tokens": int((kept[here] * count).sum()),
            "masked": int((count * (history.trained[here] == 0)).sum()),
            "lengths": spread(np.repeat(lengths, count)),
        }
    return found


def _powers(values: NDArray[Any]) -> list[list[int]]:
    """[from, to (exclusive), how many] by powers of two, from the first bin that holds something to the last."""
    if not len(values):
        return []
    bins = np.where(values > 0, np.floor(np.log2(np.maximum(values, 1))).astype(np.int64) + 1, 0)
    counts = np.bincount(bins)
    first = int(np.flatnonzero(counts)[0])
    return [[0 if at == 0 else 1 << (at - 1), 1 << at, int(counts[at])] for at in range(first, len(counts))]


def _steps(values: NDArray[Any]) -> list[list[int]]:
    edges = [*TURN_EDGES, int(max(values.max() if len(values) else 0, TURN_EDGES[-1])) + 1]
    counts, _ = np.histogram(values, bins=edges)
    last = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    return [[edges[at], edges[at + 1], int(counts[at])] for at in range(last)]


def estimate(table: Sequence[Cost], own: int, pace: Pace, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Steps and GPU-hours of the training split at each cutoff, from a measured speed. The last step may be short.

    Args:
        table: The cutoff table; where it is empty the output is estimated as it is.
        own: The output's own `cutoff_len`.
        pace: Speed and length of the training run.
        manifest: Of the output.

    Returns:
        For each cutoff its steps, tokens, and hours rounded to 4 digits.
    """
    found = []
    costs = {row.cutoff_len: row.splits["train"] for row in table if "train" in row.splits}
    if not costs and "train" in manifest["splits"]:
        train = manifest["splits"]["train"]
        costs = {own: (train["rows"], train["tokens"])}
    for cutoff, (rows, tokens) in costs.items():
        seconds = tokens * pace.epochs / (pace.tokens_per_s * pace.gpus)
        found.append(
            {
                "cutoff_len": cutoff,
                "steps": math.ceil(math.ceil(rows / pace.batch_rows) * pace.epochs),
                "tokens": int(tokens * pace.epochs),
                "hours": round(seconds / 3600, 4),
                "gpu_hours": round(seconds * pace.gpus / 3600, 4),
            }
        )
    return found
