"""What is said about a whole data set adds up."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run

GOOD = {"instruction": "1", "input": "", "output": "2"}
EMPTY = {"instruction": "q", "output": ""}
LACKING = {"instruction": "q"}
THOUGHTS = [
    {"from": "human", "value": "q"}, {"from": "gpt", "value": "<think>\nx\n</think>\n\na"},
    {"from": "human", "value": "q"}, {"from": "gpt", "value": "<think>\ny\n</think>\n\nb"},
    {"from": "human", "value": "q"},
]  # fmt: skip


def shares(tmp_path: Path, tiny: str, records: list[Any], *words: str) -> list[str]:
    """Every "N of M records" of the report."""
    (tmp_path / "a.json").write_text(json.dumps(records))
    out = tmp_path / "out"
    base = [f"dataset={tmp_path / 'a.json'}", f"model_name_or_path={tiny}", "max_rejected=1.0", "--workers", "1"]
    assert run(["pack", *base, *words, "-o", str(out), "--quiet"]) == 0
    report = json.loads((out / "report.json").read_text())
    said = [found["message"] for found in report["findings"] if found["rule"].startswith("template.")]
    return [match[0] for text in said for match in [re.match(r"\d+ of \d+ records \(\d+ %\)", text)] if match]


@pytest.mark.parametrize("records", [[GOOD, EMPTY, LACKING], [EMPTY, {**GOOD, "id": "1"}, EMPTY]])
def test_rejected_records_are_in_no_share(tmp_path: Path, tiny: str, records: list[Any]) -> None:
    """It said that two of one record, 200 %, got the template's system prompt."""
    assert shares(tmp_path, tiny, records, "template=qwen") == ["1 of 1 records (100 %)"]


def test_a_record_with_two_answers_counts_once(tmp_path: Path, tiny: str) -> None:
    """Both answers of a preference pair get an empty thought, and both earlier ones lose theirs."""
    pair = {"chosen": {"from": "gpt", "value": "c"}, "rejected": {"from": "gpt", "value": "r"}}
    records = [{"conversations": THOUGHTS, **pair}]
    assert shares(tmp_path, tiny, records, "template=qwen3", "stage=dpo") == ["1 of 1 records (100 %)"] * 2


def test_a_record_that_is_split_counts_once(tmp_path: Path, tiny: str) -> None:
    """Its pieces are no records."""
    turns = [{"from": ("human", "gpt")[at % 2], "value": f"some words of turn {at}"} for at in range(40)]
    words = ("template=qwen", "overlong=split", "cutoff_len=128")
    assert shares(tmp_path, tiny, [{"conversations": turns}], *words) == ["1 of 1 records (100 %)"]


def test_what_the_cut_rejects_makes_no_share_too_large(tmp_path: Path, tiny: str) -> None:
    """With --strict a cut answer is an error, found when the template has long been applied."""
    records = [GOOD, {**GOOD, "output": "word " * 200}]
    assert shares(tmp_path, tiny, records, "template=qwen", "cutoff_len=64", "--strict") == ["2 of 2 records (100 %)"]
