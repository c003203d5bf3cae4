"""Rows: every token of a split stands in them once, none is longer than the cutoff, and the seed decides the order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.plan.types import Plan
from pipeline.runs.pack.rows import make_rows
from registry.errors import UsageFault
from tests.support.example_tables import plan_of, table_of
from tests.support.packed_outputs import CHATS, pack, rows, write_records

LENGTHS = st.lists(st.integers(1, 31), min_size=0, max_size=40)


class Plans(dict[str, Plan]):
    """Shown in a few words: Hypothesis prints what a failing example was given, and a plan holds a vocabulary."""

    def __repr__(self) -> str:
        return f"plans {', '.join(self)}"


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_records(tmp_path / "chats.jsonl", CHATS)


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Plans:
    """A plan for each way to make rows of at most 32 tokens."""
    folder = tmp_path_factory.mktemp("plans")
    words = {
        "plain": ["cutoff_len=32"],
        "packed": ["packing=true", "cutoff_len=32"],
        "in order": ["packing=true", "packing_strategy=sequential", "cutoff_len=32"],
        "text": ["stage=pt", "packing=true", "cutoff_len=32", "format=pretrain"],
    }
    return Plans({name: plan_of(folder, [2], *these) for name, these in words.items()})


def test_unpacked_rows_keep_the_order(chats: Path, tmp_path: Path) -> None:
    """One example a row, in input order, and each row is what it is in the packed shards."""
    pack(chats, tmp_path / "plain", "cutoff_len=1024")
    pack(chats, tmp_path / "packed", "packing=true", "cutoff_len=1024")
    plain = [(row["input_ids"], row["labels"]) for row in rows(tmp_path / "plain")]
    assert len(plain) == 400
    split = []
    for row in rows(tmp_path / "packed"):
        at = 0
        for length in row["seq_lengths"]:
            split.append((row["input_ids"][at : at + length], row["labels"][at : at + length]))
            at += length
    assert sorted(split) == sorted(plain)


def test_pretraining_is_one_stream(tmp_path: Path) -> None:
    """Packed pretraining rows joined are the documents joined: nothing is lost, every row but the last is full."""
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": f"Tide {n} rises. " * (n + 1)}) + "\n" for n in range(60)))
    plain = pack(path, tmp_path / "plain", "stage=pt", "packing=false", "cutoff_len=100000").out
    packed = pack(path, tmp_path / "packed", "stage=pt", "packing=true", "cutoff_len=128").out
    joined = [token for row in rows(plain) for token in row["input_ids"]]
    blocks = rows(packed)
    assert [token for row in blocks for token in row["input_ids"]] == joined
    assert {len(row["input_ids"]) for row in blocks[:-1]} == {128}
    assert all(row["input_ids"] == row["labels"] for row in blocks)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=LENGTHS)
@pytest.mark.parametrize("way", ["plain", "packed", "in order"])
def test_every_example_stands_in_one_row(way: str, plans: Plans, lengths: list[int]) -> None:
    """However they are packed: each once, no row over the cutoff, and a row's tokens are those of its examples."""
    order = np.arange(len(lengths), dtype=np.int64)
    made = make_rows(plans[way], table_of(lengths), order)
    assert sorted(made.parts.record.tolist()) == order.tolist()
    assert int(made.sizes.sum()) == len(lengths)
    assert made.tokens.max(initial=0) <= 32
    borders = np.concatenate([[0], np.cumsum(made.sizes)])
    for row in range(len(made.sizes)):
        assert made.parts.tokens[borders[row] : borders[row + 1]].sum() == made.tokens[row]
    if way != "packed":
        assert made.parts.record.tolist() == order.tolist()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 100), min_size=0, max_size=12))
def test_documents_are_one_stream_without_a_gap(plans: Plans, lengths: list[int]) -> None:
    """Every block but the last is full, and the pieces of a document follow one another."""
    table = table_of(lengths)
    made = make_rows(plans["text"], table, np.arange(len(lengths), dtype=np.int64))
    assert set(made.tokens[:-1].tolist()) <= {32}
    assert made.tokens.sum() == sum(lengths) == made.parts.tokens.sum()
    for record in range(len(lengths)):
        mine = made.parts.record == record
        starts, pieces = made.parts.offset[mine], made.parts.tokens[mine]
        assert starts.tolist() == (np.cumsum(pieces) - pieces).tolist()
        assert (made.parts.token_start[mine] - starts == table.token_start[record]).all()


def test_the_order_of_packed_rows_is_the_seeds(tmp_path: Path) -> None:
    table, order = table_of([20] * 30), np.arange(30, dtype=np.int64)
    one, same, other = (
        make_rows(plan_of(tmp_path, [2], "packing=true", "cutoff_len=32", f"seed={seed}"), table, order)
        for seed in (1, 1, 2)
    )
    assert one.parts.record.tolist() == same.parts.record.tolist() != other.parts.record.tolist()


def test_an_unknown_strategy_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="packing_strategy"):
        plan_of(tmp_path, [2], "packing=true", "packing_strategy=knapsak")


def test_a_split_of_which_every_document_was_rejected_has_no_rows(tmp_path: Path) -> None:
    """The training documents are packed all the same."""
    train = write_records(tmp_path / "a.jsonl", [{"text": "The tide rises."}])
    held = write_records(tmp_path / "b.jsonl", [{"text": ""}])
    words = ["stage=pt", "packing=true", f"eval_dataset={held}", "max_rejected=1"]
    out = pack(train, tmp_path / "out", *words).out
    assert (len(rows(out)), rows(out, "validation")) == (1, [])
