"""The manifest says what was planned, read and written, in the user's words and without a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.output.ledger import SourceLedger
from pipeline.runs.pack.make_manifest import Written, make_manifest, mixture, run_block, source_names
from tests.support.example_tables import collected_of, plan_of
from tests.support.packed_outputs import CHATS, pack, write_records


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_records(tmp_path / "chats.jsonl", CHATS)


def test_mixing_is_in_the_manifest(chats: Path, tmp_path: Path) -> None:
    """What was requested stands beside what became of it, in examples and in trained tokens."""
    short = tmp_path / "short.jsonl"
    short.write_text("".join(json.dumps(record) + "\n" for record in CHATS[:40]))
    words = ["mix_strategy=interleave_under", "interleave_probs=0.5,0.5"]
    manifest = pack(f"{chats},{short}", tmp_path / "out", *words).manifest
    shares = manifest["mixture"]
    assert [entry["asked"] for entry in shares.values()] == [0.5, 0.5]
    assert sum(entry["examples"] for entry in shares.values()) == manifest["splits"]["train"]["rows"]
    assert abs(sum(entry["trained_tokens_share"] for entry in shares.values()) - 1) < 1e-5
    assert manifest["ledger"]["not_sampled"] > 0


def split(rows: int, tokens: int) -> dict[str, Any]:
    return {"rows": rows, "examples": rows, "tokens": tokens, "trained_tokens": tokens, "shards": []}


def test_how_full_rows_are_is_told_for_packed_rows_only(tmp_path: Path) -> None:
    for packing, fill in (("true", 0.75), ("false", None)):
        plan = plan_of(tmp_path, [2], f"packing={packing}", "cutoff_len=100")
        written = Written([SourceLedger(read=2, examples=2)], {"train": split(2, 150)}, [])
        manifest = make_manifest(plan, collected_of(plan, [2]), written, "k", {})
        assert manifest["splits"]["train"]["fill_rate"] == fill
        assert manifest["packed"] == (packing == "true")


def test_the_ledger_is_the_sum_of_its_sources(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [2, 3])
    ledgers = [SourceLedger(read=2, examples=2, tokens=7), SourceLedger(read=3, examples=1, tokens=5)]
    found = make_manifest(plan, collected_of(plan, [2, 3]), Written(ledgers, {}, []), "k", {"differ": 0})
    assert (found["ledger"]["read"], found["ledger"]["tokens"]) == (5, 12)
    assert [one["tokens"] for one in found["ledger"]["sources"].values()] == [7, 5]
    assert [entry["records"] for entry in found["inputs"]] == [2, 3]
    assert found["tokenizer"]["check"] == {"differ": 0}


def test_a_set_that_serves_two_splits_is_named_with_the_split(tmp_path: Path) -> None:
    held = tmp_path / "set0.jsonl"
    plan = plan_of(tmp_path, [2], f"eval_dataset={held}")
    assert source_names(plan) == ["set0 (train)", "set0 (validation)"]
    assert source_names(plan_of(tmp_path, [2])) == ["set0"]


def test_shares_of_nothing_are_zero(tmp_path: Path) -> None:
    """A mixture of which nothing is left divides by no zero."""
    (share,) = mixture(plan_of(tmp_path, [2]), [SourceLedger()]).values()
    assert share == {
        "asked": None, "examples": 0, "examples_share": 0.0, "trained_tokens": 0, "trained_tokens_share": 0.0,
    }  # fmt: skip


def test_what_differs_from_run_to_run_stands_in_the_run_block_alone(tmp_path: Path) -> None:
    """Two runs over the same input give the same manifest; times, workers and versions are apart."""
    plan = plan_of(tmp_path, [2])
    one, same = (
        make_manifest(plan, collected_of(plan, [2]), Written([SourceLedger(read=2)], {}, []), "k", {}) for _ in "ab"
    )
    assert one == same
    block = run_block(plan, 0.0, 3, collected_of(plan, [2]))
    assert block["workers"] == 3
    assert not {"finished", "versions", "workers", "seconds"} & one.keys()


def test_no_secret_of_the_configuration_is_kept(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [2], "hf_hub_token=s3cret")
    written = Written([SourceLedger(read=2)], {}, [])
    found = make_manifest(plan, collected_of(plan, [2]), written, "k", {})
    assert "s3cret" not in json.dumps([found, run_block(plan, 0.0, 1, collected_of(plan, [2]))])


def test_a_ledger_is_needed_for_each_source(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [2, 3])
    with pytest.raises(ValueError, match="shorter"):
        make_manifest(plan, collected_of(plan, [2, 3]), Written([SourceLedger()], {}, []), "k", {})
