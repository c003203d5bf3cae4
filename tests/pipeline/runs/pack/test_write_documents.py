"""What stands beside the shards is listed in the manifest with its digest, and shards that do not add up stop it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.output.ledger import SourceLedger
from pipeline.output.rejects import RejectWriter
from pipeline.runs.pack.order import Arranged
from pipeline.runs.pack.read_chunks import Read
from pipeline.runs.pack.rows import RowsOfSplits
from pipeline.runs.pack.write_documents import example_lengths, write_documents
from tests.support.example_tables import collected_of, plan_of, table_of

PROOF = {"verdict": "own", "reason": "", "cases": {}}


def documents(folder: Path, tokens: int) -> dict[str, Any]:
    """Of two examples with 12 tokens in one row of the training split."""
    plan = plan_of(folder, [2])
    (folder / "rejects").mkdir(exist_ok=True)
    with RejectWriter(folder / "rejects", ["set0"]) as rejects:
        pass
    ledger = SourceLedger(read=2, examples=2, tokens_in=12, tokens=12, trained_tokens_in=6, trained_tokens=6)
    order = {"train": np.array([0, 1])}
    made = RowsOfSplits(table_of([5, 7]), Arranged(order, [ledger], order), {})
    splits = {"train": {"rows": 1, "tokens": tokens, "trained_tokens": 6, "shards": []}}
    return write_documents(Read(plan, collected_of(plan, [2]), rejects, PROOF, ("k", {})), made, (splits, []), folder)


def test_every_file_is_listed_as_it_is(tmp_path: Path) -> None:
    manifest = documents(tmp_path, 12)
    assert {"report.json", "README.md"} <= {entry["file"] for entry in manifest["files"]}
    for entry in manifest["files"]:
        data = (tmp_path / entry["file"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_manifest_carries_key_proof_and_examples(tmp_path: Path) -> None:
    manifest = documents(tmp_path, 12)
    assert (manifest["key"], manifest["template_proof"]) == ("k", PROOF)
    assert manifest["splits"]["train"]["examples"] == 2
    assert manifest["tokenizer"]["check"] == {"back_end": "tokenizers", "checked_texts": 0, "differ": 0}
    assert "run" not in manifest and manifest["sha256"]


def test_shards_that_hold_other_tokens_are_our_mistake(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the shards hold 11 tokens, the ledger says 12"):
        documents(tmp_path, 11)


def test_lengths_count_an_example_as_often_as_it_stands_in_the_rows() -> None:
    """Of the second source nothing is used."""
    table = table_of([5, 7, 90], source=[0, 0, 1])
    order = {"train": np.array([0, 1, 1]), "validation": np.array([1])}
    found = example_lengths(table, Arranged(order, [], order), ["a", "b"])
    assert (found["a"]["min"], found["a"]["mean"], found["a"]["max"]) == (5, 6.5, 7)
    assert found["b"]["max"] == 0
    assert example_lengths(table, Arranged({}, [], {}), ["a"])["a"]["max"] == 0
