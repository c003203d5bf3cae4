"""Sampling, mixing, splitting and shuffling: every example that leaves is accounted for, and the seed decides."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.plan.types import Plan
from pipeline.runs.pack.order import Arranged, arrange, excluded, shuffled
from registry.errors import Fault
from stages.truncate.cut_findings import DROPPED, KEPT, REJECTED
from tests.support.example_tables import collected_of, plan_of, table_of
from tests.support.packed_outputs import CHATS, pack, write_records


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_records(tmp_path / "chats.jsonl", CHATS)


def lines_of(made: Any) -> list[int]:
    """The source lines of the training split's first shard, in order."""
    with pa.memory_map(str(made.out / made.manifest["splits"]["train"]["shards"][0]["lineage"]["file"])) as source:
        lines: list[int] = pa.ipc.open_file(source).read_all()["line"].to_pylist()
    return lines


def test_sampling_is_in_the_ledger(chats: Path, tmp_path: Path) -> None:
    """max_samples takes the head, `split: train[...]` a part, num_samples draws with repeats: all is accounted for."""
    info = {
        "head": {"file_name": chats.name, "formatting": "sharegpt"},
        "part": {"file_name": chats.name, "formatting": "sharegpt", "split": "train[100:150]"},
        "more": {"file_name": chats.name, "formatting": "sharegpt", "num_samples": 500},
        "ends": {"file_name": chats.name, "formatting": "sharegpt", "split": "train[95%:]+train[:3]+train[-1:]"},
        "drawn": {"file_name": chats.name, "formatting": "sharegpt", "split": "train[:1]+train[9:]", "num_samples": 9},
    }
    (chats.parent / "dataset_info.json").write_text(json.dumps(info))
    folder = f"dataset_dir={chats.parent}"
    head = pack("head", tmp_path / "head", folder, "max_samples=30").manifest["ledger"]
    assert (head["read"], head["examples"], head["not_sampled"]) == (400, 30, 370)
    part = pack("part", tmp_path / "part", folder)
    ledger = part.manifest["ledger"]
    assert (ledger["examples"], ledger["not_sampled"]) == (50, 350)
    assert lines_of(part) == list(range(101, 151))
    ends = pack("ends", tmp_path / "ends", folder)  # parts in the order given, the last record twice
    ledger = ends.manifest["ledger"]
    assert (ledger["examples"], ledger["repeated"], ledger["not_sampled"]) == (24, 1, 377)
    assert lines_of(ends) == [*range(381, 401), 1, 2, 3, 400]
    drawn = pack("drawn", tmp_path / "drawn", folder)
    assert (drawn.manifest["ledger"]["examples"], drawn.manifest["ledger"]["not_sampled"]) == (9, 391)
    assert not set(lines_of(drawn)) & set(range(2, 10))
    more = pack("more", tmp_path / "more", folder).manifest["ledger"]
    assert (more["examples"], more["repeated"], more["not_sampled"]) == (500, 100, 0)
    both = pack("more", tmp_path / "both", folder, "max_samples=40").manifest["ledger"]
    assert (both["read"], both["examples"]) == (400, 40)


def arranged(plan: Plan, table: Any, *read: int) -> Arranged:
    found = arrange(plan, collected_of(plan, read), table)
    assert [line for ledger in found.ledgers for line in ledger.problems()] == []
    return found


def test_without_an_option_the_order_is_that_of_the_records(tmp_path: Path) -> None:
    found = arranged(plan_of(tmp_path, [4]), table_of([5, 6, 7, 8]), 4)
    assert {name: order.tolist() for name, order in found.splits.items()} == {"train": [0, 1, 2, 3]}


def test_what_the_limit_took_is_in_the_account_and_not_in_the_order(tmp_path: Path) -> None:
    """It keeps its place among what was planned, where another limit would have it."""
    table = table_of([5, 900, 7, 8], fate=[KEPT, DROPPED, KEPT, KEPT])
    found = arranged(plan_of(tmp_path, [4]), table, 4)
    assert found.splits["train"].tolist() == [0, 2, 3]
    assert found.planned["train"].tolist() == [0, 1, 2, 3]
    assert sum(found.ledgers[0].dropped.values()) == 1
    left = excluded(table, found)
    assert (list(left.split), left.place.tolist(), left.record.tolist()) == (["train"], [1], [1])


def test_what_no_split_takes_is_excluded_without_a_place(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, [4], "max_samples=2")
    table = table_of([5, 6, 7, 8])
    found = arranged(plan, table, 4)
    assert found.splits["train"].tolist() == [0, 1]
    assert found.ledgers[0].not_sampled == 2
    left = excluded(table, found)
    assert (list(left.split), left.place.tolist(), left.record.tolist()) == (["", ""], [-1, -1], [2, 3])


def test_a_split_holds_each_record_once(tmp_path: Path) -> None:
    """val_size takes a share off, the same for the same seed; nothing is on both sides, nothing is lost."""
    plans = [plan_of(tmp_path, [20], "val_size=0.2", f"seed={seed}") for seed in (1, 1, 2)]
    one, same, other = (arranged(plan, table_of([5] * 20), 20).splits for plan in plans)
    assert len(one["validation"]) == 4
    assert sorted([*one["train"].tolist(), *one["validation"].tolist()]) == list(range(20))
    assert one["validation"].tolist() == same["validation"].tolist() != other["validation"].tolist()


def test_pieces_of_a_record_stay_together(tmp_path: Path) -> None:
    """`overlong: split`: records 0, 0, 1, 2, 2, 2; sampled by record, in the rows by piece."""
    table = table_of([5] * 6, record=[0, 0, 1, 2, 2, 2], position=[0, 0, 1, 2, 2, 2])
    plan = plan_of(tmp_path, [3], "overlong=split")
    assert arrange(plan, collected_of(plan, [3]), table).splits["train"].tolist() == [0, 1, 2, 3, 4, 5]


def test_sources_take_turns_as_their_shares_say(tmp_path: Path) -> None:
    words = ["mix_strategy=interleave_under", "interleave_probs=0.5,0.5"]
    plan = plan_of(tmp_path, [10, 4], *words)
    source = [0] * 10 + [1] * 4
    table = table_of([5] * 14, source=source, file=source, position=[*range(10), *range(4)])
    found = arranged(plan, table, 10, 4)
    used = Counter(table.source[found.splits["train"]].tolist())
    assert used[1] == 4 and 0 < used[0] <= 10
    assert found.ledgers[0].not_sampled == 10 - used[0]


def test_only_training_rows_are_shuffled() -> None:
    order = table_of([1] * 50).record
    assert sorted(shuffled(order, "train", True, 3).tolist()) == order.tolist()
    assert shuffled(order, "train", True, 3).tolist() == shuffled(order, "train", True, 3).tolist() != order.tolist()
    assert shuffled(order, "validation", True, 3) is order
    assert shuffled(order, "train", False, 3) is order


def test_a_rejected_record_may_be_sampled_and_is_then_no_example(tmp_path: Path) -> None:
    table = table_of([5, 6, 7], fate=[KEPT, REJECTED, KEPT])
    plan = plan_of(tmp_path, [3])
    collected = collected_of(plan, [3])
    collected.files[0].rejected["length.no-answer"] = 1
    found = arrange(plan, collected, table)
    assert found.ledgers[0].problems() == []
    assert found.splits["train"].tolist() == [0, 2]


def test_a_split_that_would_leave_a_side_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises((Fault, ValueError), match="val_size"):
        arranged(plan_of(tmp_path, [1], "val_size=0.5"), table_of([5]), 1)
