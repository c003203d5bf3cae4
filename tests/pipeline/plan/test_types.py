"""A plan knows how large its input is, whether rows are packed, and what a worker has to be given."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.plans import check_plan, pack_plan, write_records

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_records(tmp_path / "data.jsonl", GOOD)


def test_the_input_is_as_large_as_its_local_files(data: Path) -> None:
    plan = check_plan(data)
    (source,) = plan.sources
    assert plan.input_bytes == source.bytes == data.stat().st_size
    twice = replace(source, files=(str(data), str(data), "s3://bucket/far.jsonl"))
    assert twice.bytes == 2 * data.stat().st_size


@pytest.mark.parametrize(
    ("kind", "packing", "packed"), [("lm", True, True), ("lm", False, False), ("pt", True, True), ("pref", True, False)]
)
def test_only_sequences_are_packed(data: Path, kind: str, packing: bool, packed: bool) -> None:
    plan = check_plan(data)
    assert replace(plan, kind=kind, config=plan.config.with_values(packing=packing)).packed is packed


def test_a_worker_gets_what_the_plan_decided_and_where_to_keep_it(data: Path) -> None:
    plan = pack_plan(data, "stage=sft", "rules.text.special-token=error")
    spec = pickle.loads(pickle.dumps(plan.batch_spec("cache")))
    assert (spec.cache_folder, spec.encode, spec.policy) == ("cache", plan.encode, plan.policy)
    assert [source.format for source in spec.sources] == ["alpaca"]
    assert plan.fitted is not None and spec.control == plan.fitted.control
    checked = check_plan(data).batch_spec(None)
    assert (checked.encode, bool(checked.control)) == (None, False)


def test_a_kind_of_rows_that_there_is_not_is_a_bug(data: Path) -> None:
    with pytest.raises(KeyError):
        _ = replace(check_plan(data), kind="nothing").packed
