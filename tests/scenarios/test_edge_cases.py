"""Malformed and unusual input has a decided outcome: the table of docs/edge-cases.md, line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import edge_case_runs as runs

CASES = runs.cases()
RUN = [case for case in CASES if "expect" in case]


@pytest.mark.parametrize("case", RUN, ids=[case["case"] for case in RUN])
def test_the_outcome_is_the_decided_one(case: dict[str, Any], tmp_path: Path) -> None:
    expect, got = case["expect"], runs.outcome(case, tmp_path)
    if "says" in expect:
        assert got["exit"] == expect["exit"]
        assert expect["says"] in got["says"]
    else:
        assert got == expect


def test_what_is_held_elsewhere_names_a_test_that_is_there() -> None:
    for case in CASES:
        for name in case.get("held", "").split(", "):
            assert not name or (runs.ROOT / name).is_file(), case["case"]
        assert ("held" in case) != ("expect" in case)


def test_every_case_about_records_or_data_sets_is_run() -> None:
    assert {case["about"] for case in CASES if "held" in case} <= {"template", "length", "config"}
    assert len(CASES) == 228, "232 upstream, six of them listed twice; two of our own"


def test_the_page_is_made_from_the_file() -> None:
    assert runs.PAGE.read_text(encoding="utf-8") == runs.page(), "run python tests/support/edge_case_runs.py"
