"""A plan says what a run will do before it reads the data, or every reason why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.plan import make_plan
from registry.errors import UsageFault
from tests.support.plans import TINY, check_plan, pack_plan, write_records

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}
PAIR = {"instruction": "Name a metal.", "input": "", "chosen": "Iron.", "rejected": "Wood."}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_records(tmp_path / "data.jsonl", GOOD)


def test_checking_needs_no_tokenizer_and_uses_one_that_is_given(data: Path) -> None:
    assert check_plan(data).encode is None
    with pytest.raises(UsageFault, match="has no chat template"):
        check_plan(data, f"model_name_or_path={TINY}")
    assert check_plan(data, f"model_name_or_path={TINY}", "template=qwen3").encode is not None


def test_packing_without_a_tokenizer_is_refused(data: Path) -> None:
    with pytest.raises(UsageFault, match="model_name_or_path: not given"):
        make_plan(load_config(None, [f"dataset={data}"]), needs_tokens=True)


def test_the_method_decides_kind_of_rows_and_severities(tmp_path: Path) -> None:
    data = write_records(tmp_path / "pairs.jsonl", PAIR)
    plan = pack_plan(data, "stage=dpo", "pref_loss=orpo", "rules.text.special-token=error")
    assert (plan.stage, plan.kind, plan.policy.stage) == ("orpo", "pref", "orpo")
    assert plan.policy.severity("text.special-token") == "error"


def test_sources_that_are_known_are_not_looked_for_again(data: Path) -> None:
    first = check_plan(data)
    data.unlink()
    again = make_plan(first.config, needs_tokens=False, sources=first.sources)
    assert again.sources == first.sources
    with pytest.raises(UsageFault, match=r"data\.jsonl"):
        make_plan(first.config, needs_tokens=False)
