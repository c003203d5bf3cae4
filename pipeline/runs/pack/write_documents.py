"""What stands beside the shards: the report, what is excluded, the data card, and the manifest that lists them all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.output.ledger import SourceLedger, spread, total
from pipeline.output.manifest import dump, self_digest
from pipeline.plan.types import Plan
from pipeline.reports.data_card import NAME as CARD
from pipeline.reports.data_card import data_card
from pipeline.runs.collect import Collected, validation_report
from stages.writers.excluded import NAME as EXCLUDED
from stages.writers.excluded import write_excluded

from .example_table import Table
from .make_manifest import Written, make_manifest, source_names
from .order import Arranged, excluded
from .read_chunks import Read
from .rows import RowsOfSplits
from .write_splits import listed_file

Shards = tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]


def write_documents(read: Read, made: RowsOfSplits, shards: Shards, build: Path) -> dict[str, Any]:
    """Writes the report, what is excluded and the data card.

    Args:
        read: What was read and found.
        made: The examples in their order, with the account.
        shards: The manifest's `splits`, each of which gets the number of its examples, and its entries for the files
            of `datasets`.
        build: The folder that is published at the end.

    Returns:
        The manifest but for its `run`, with a digest of itself.

    Raises:
        AssertionError: When the shards hold other tokens than the ledger accounts for.
        MachineFault: When the disk says no.
    """
    plan, collected, arranged = read.plan, read.collected, made.arranged
    splits, for_datasets = shards
    assert plan.encode is not None
    for name, order in arranged.splits.items():
        splits[name]["examples"] = len(order)
    _compare(splits, total(arranged.ledgers))
    report = validation_report([(plan, collected)]).as_dict()
    files_listed = [
        listed_file(build, "report.json", dump(report)),
        *for_datasets,
        *read.rejects.files,
        *_excluded(made.table, arranged, build, plan.encode.cut.kind),
    ]
    written = Written(arranged.ledgers, splits, files_listed)
    manifest = make_manifest(plan, collected, written, read.identity[0], _verdict(plan, collected))
    manifest["template_proof"] = read.proof
    card = data_card(manifest, report, example_lengths(made.table, arranged, source_names(plan)))
    manifest["files"].append(listed_file(build, CARD, card.encode("utf-8")))
    manifest["sha256"] = self_digest(manifest)
    return manifest


def _compare(splits: dict[str, dict[str, Any]], whole: SourceLedger) -> None:
    for figure in ("tokens", "trained_tokens"):
        written, accounted = sum(split[figure] for split in splits.values()), getattr(whole, figure)
        if written != accounted:
            raise AssertionError(f"the shards hold {written} {figure}, the ledger says {accounted}")


def example_lengths(table: Table, arranged: Arranged, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """The spread of each source's examples in tokens before the cut.

    Args:
        table: All examples of the run.
        arranged: Which of them stand in the rows; each counts as often as it stands there.
        names: One a source, in the order of `table.source`.

    Returns:
        Percentiles by name.
    """
    orders = list(arranged.splits.values())
    used = np.concatenate(orders) if orders else np.empty(0, dtype=np.int64)
    return {name: spread(table.tokens_in[used[table.source[used] == number]]) for number, name in enumerate(names)}


def _verdict(plan: Plan, collected: Collected) -> dict[str, Any]:
    """The manifest's word on the tokenizer's back end."""
    assert plan.encode is not None
    return {"back_end": plan.encode.back_end, "checked_texts": collected.checked_texts, "differ": 0}


def _excluded(table: Table, arranged: Arranged, build: Path, kind: str) -> list[dict[str, Any]]:
    left = excluded(table, arranged)
    if not len(left.place):
        return []
    size, digest = write_excluded(os.fspath(build / EXCLUDED), table.caches, left, kind)
    return [{"file": EXCLUDED, "bytes": size, "sha256": digest}]
