"""Cutoffs: what another `cutoff_len` would cost, from the lengths that an output keeps; no text, no tokenizer.

The functions of `prep pack` cut (stages.truncate.cut_findings), pack (stages.pack) and account
(pipeline.output.ledger.ledgers), so a row of the table is what packing with that cutoff then reports, to the token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.output.ledger import SourceLedger, ledgers, total
from pipeline.runs.pack.order import shuffled
from registry.kinds import STAGES
from registry.rules import Policy
from stages.core.findings import Note
from stages.pack import pack
from stages.truncate import example_limit
from stages.truncate.cut_findings import KEPT, REJECTED, Segments, cut_examples

from .history import History

CUTOFFS = tuple(512 << step for step in range(9))  # 512 ... 131072
MOST_LOST_SHARE = 0.005  # of the trained tokens: what the suggestion accepts
WARNINGS = ("length.answer-cut", "length.prompt-cut", "length.turns-lost", "length.dropped")


@dataclass(frozen=True)
class Cost:
    """What one cutoff does. records_cut: distinct records in rows that lost tokens. rejected, dropped: records that the
    limit takes out as a whole, and their trained tokens. splits: rows and tokens of each."""

    cutoff_len: int
    ledger: SourceLedger
    by_source: dict[str, SourceLedger]
    cut_by_source: dict[str, int]
    rejected: int
    dropped: int
    rejected_trained_tokens: int
    splits: dict[str, tuple[int, int]]

    @property
    def records_cut(self) -> int:
        """Distinct records in rows that lost tokens."""
        return sum(self.cut_by_source.values())

    @property
    def rows(self) -> int:
        """Rows over all splits."""
        return sum(rows for rows, _ in self.splits.values())

    @property
    def fill_rate(self) -> float:
        """Share of rows x cutoff_len that holds a token."""
        return self.ledger.tokens / max(self.rows * self.cutoff_len, 1)

    @property
    def trained_lost(self) -> int:
        """Trained tokens lost, as the manifest's ledger counts them (rejected records are not in it)."""
        return sum(self.ledger.trained_tokens_lost.values())

    @property
    def trained_share(self) -> float:
        """Share of all trained tokens that is still trained; what rejected records held counts as lost."""
        whole = self.ledger.trained_tokens_in + self.rejected_trained_tokens
        return self.ledger.trained_tokens / whole if whole else 1.0

    def as_dict(self) -> dict[str, Any]:
        """One row of the JSON table."""
        return {
            "cutoff_len": self.cutoff_len,
            "records_cut": self.records_cut,
            "rejected": self.rejected,
            "dropped": self.dropped,
            "tokens": self.ledger.tokens,
            "tokens_lost": sum(self.ledger.tokens_lost.values()),
            "trained_tokens": self.ledger.trained_tokens,
            "trained_tokens_lost": self.trained_lost,
            "trained_tokens_rejected": self.rejected_trained_tokens,
            "trained_share": round(self.trained_share, 6),
            "rows": self.rows,
            "fill_rate": round(self.fill_rate, 6),
            "splits": {
                name: {"rows": rows, "fill_rate": round(tokens / max(rows * self.cutoff_len, 1), 6)}
                for name, (rows, tokens) in self.splits.items()
            },
            "sources": {
                name: {
                    "records_cut": self.cut_by_source[name],
                    "trained_tokens_lost": sum(ledger.trained_tokens_lost.values()),
                }
                for name, ledger in self.by_source.items()
            },
        }


@dataclass
class _Table:
    """Lengths under one cutoff, as `pipeline.output.ledger.ledgers` takes them."""

    source: NDArray[np.int32]
    tokens_in: NDArray[np.int32]
    trained_in: NDArray[np.int32]
    tokens: NDArray[np.int32]
    trained: NDArray[np.int32]
    fate: NDArray[np.uint8]


def policy_of(history: History) -> Policy:
    """The severities of the run that made the output."""
    options = history.manifest["options"]
    stage = str(history.manifest["stage"])
    return Policy.make(STAGES[stage].rule_stage, dict(options.get("rules") or {}), strict=bool(options.get("strict")))


def rejected_before(history: History) -> list[Counter[str]]:
    """Records of each source that were rejected whatever the length limit is, by rule."""
    _, by_limit, _ = _cut(history, int(history.manifest["cutoff_len"]))
    return [known - limit for known, limit in zip(history.rejected, by_limit, strict=True)]


def cost(history: History, cutoff_len: int, before: Sequence[Counter[str]] | None = None) -> Cost:
    """What `prep pack` with this `cutoff_len` would report.

    Args:
        history: The lengths of an output.
        cutoff_len: At least 2 tokens.
        before: Result of `rejected_before`, for callers that cost several cutoffs.
    """
    manifest = history.manifest
    table, by_limit, changed = _cut(history, cutoff_len)
    before = rejected_before(history) if before is None else before
    rejected = [known + limit for known, limit in zip(before, by_limit, strict=True)]
    orders = {
        split: shuffled(
            order[table.fate[order] == KEPT], split, bool(manifest["options"].get("shuffle")), _seed(history)
        )
        for split, order in history.orders.items()
    }
    closed = ledgers(table, orders, history.read, rejected)
    used = np.zeros(len(table.fate), dtype=np.bool_)
    for order in orders.values():
        used[order] = True
    lengths = {split: table.tokens[order] for split, order in orders.items()}
    summed = total(closed)
    cut_here = np.bincount(history.source[used & changed], minlength=len(history.names))
    gone = table.fate == REJECTED
    return Cost(
        cutoff_len=cutoff_len,
        ledger=summed,
        by_source=dict(zip(history.names, closed, strict=True)),
        cut_by_source={name: int(count) for name, count in zip(history.names, cut_here.tolist(), strict=True)},
        rejected=int(np.count_nonzero(gone)),
        dropped=sum(summed.dropped.values()),
        rejected_trained_tokens=int(table.trained_in[gone].sum()),
        splits={
            split: (_rows(history, tokens, cutoff_len), int(tokens.sum(dtype=np.int64)))
            for split, tokens in lengths.items()
        },
    )


def fates(history: History, cutoff_len: int) -> NDArray[np.uint8]:
    """What becomes of each example under a cutoff.

    Args:
        history: The lengths of an output.
        cutoff_len: At least 2 tokens.

    Returns:
        KEPT, REJECTED or DROPPED of stages.truncate.cut_findings (uint8, [examples]).
    """
    return _cut(history, cutoff_len)[0].fate


def _seed(history: History) -> int:
    return int(history.manifest["options"].get("seed") or 0)


def _cut(history: History, cutoff_len: int) -> tuple[_Table, list[Counter[str]], NDArray[np.bool_]]:
    """Lengths and fates under a cutoff; records that it rejects, by source and rule; and which examples it cuts."""
    manifest = history.manifest
    limit = example_limit(
        cutoff_len, kind=history.cut.kind, packed=history.packed, compat=str(manifest.get("compat", ""))
    )
    policy = policy_of(history)
    rejected: list[Counter[str]] = [Counter() for _ in history.names]

    def judge(example: int, notes: list[Note]) -> int | None:
        reason = next((note.rule for note in notes if policy.severity(note.rule) == "error"), "")
        if not reason:
            return None
        rejected[int(history.source[example])][reason] += 1
        return REJECTED

    found = cut_examples(
        replace(history.cut, limit_tokens=limit),
        str(manifest["cut"]["overlong"]),
        Segments(history.segments, history.trained, history.counts),
        judge,
        # the rejected are few, and the examples that are only cut are many
        every_note=any(policy.severity(rule) == "error" for rule in WARNINGS),
    )
    table = _Table(
        source=history.source,
        tokens_in=found.tokens_in.astype(np.int32),
        trained_in=found.trained_in.astype(np.int32),
        tokens=found.tokens.astype(np.int32),
        trained=found.trained.astype(np.int32),
        fate=found.fate,
    )
    return table, rejected, found.changed


def _rows(history: History, lengths: NDArray[np.int32], cutoff_len: int) -> int:
    if not history.packed:
        return len(lengths)
    if history.cut.kind == "pt":
        return -(-int(lengths.sum(dtype=np.int64)) // cutoff_len)
    return len(pack(lengths.tolist(), cutoff_len, history.strategy))


def cutoff_table(history: History, cutoffs: Iterable[int] = CUTOFFS) -> list[Cost]:
    """The cost of each cutoff, ascending, the output's own among them.

    Empty for an output made with `overlong: split`: where a conversation is split depends on its text.
    """
    own = int(history.manifest["cutoff_len"])
    if history.manifest["cut"]["overlong"] == "split":
        return []
    before = rejected_before(history)
    return [cost(history, cutoff, before) for cutoff in sorted({*cutoffs, own})]


class Suggestion(NamedTuple):
    """A cutoff and why."""

    cutoff_len: int
    reason: str


def suggest(table: list[Cost], own: int) -> Suggestion | None:
    """The smallest cutoff of the table that keeps all but MOST_LOST_SHARE of the trained tokens, and why."""
    if not table:
        return None
    fitting = [row for row in table if 1 - row.trained_share <= MOST_LOST_SHARE]
    best = fitting[0] if fitting else table[-1]
    here = next(row for row in table if row.cutoff_len == own)
    lost = _lost(best)
    if not fitting:
        return Suggestion(best.cutoff_len, f"even at {best.cutoff_len}, {lost}: split or shorten the longest records")
    if own == best.cutoff_len:
        return Suggestion(own, f"{own} is enough: {lost}")
    if own < best.cutoff_len:
        touched = here.records_cut + here.rejected + here.dropped
        return Suggestion(best.cutoff_len, f"{lost}; at {own}, {_lost(here)}, in {touched:,} records")
    more = "hardly any more" if here.trained_share > best.trained_share else "no more"
    return Suggestion(best.cutoff_len, f"{lost}; {own} keeps {more}, in longer rows")


def _lost(row: Cost) -> str:
    missing = 1 - row.trained_share
    return f"{100 * missing:.2f} % of the trained tokens are lost" if missing else "no trained token is lost"
