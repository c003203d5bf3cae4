"""What a validation found, as plain data: exact counts, whatever the findings are capped at."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pipeline.reports import reporter
from pipeline.reports.model import InputReport, errors_only, make_report, readable
from tests.support.reports import finding, report


def test_counts_stay_exact_when_findings_are_capped() -> None:
    made = report(finding(), counts={("role.unknown", "error"): 5000, ("prompt.empty", "warning"): 7})
    assert (made.totals.errors, made.totals.warnings) == (5000, 7)
    assert json.loads(reporter("json")(made))["counts"] == {"prompt.empty": 7, "role.unknown": 5000}
    assert "4,999 more" in reporter("text")(made)


def test_only_errors_fail_a_report_and_errors_only_keeps_just_them() -> None:
    warned = report(finding("prompt.empty", "warning"))
    both = report(finding("prompt.empty", "warning"), finding())
    assert (warned.failed, both.failed) == (False, True)
    left = errors_only(both)
    assert ([item.rule for item in left.findings], dict(left.counts), left.totals.warnings) == (
        ["role.unknown"], {"role.unknown": 1}, 0,
    )  # fmt: skip
    assert left.failed and not errors_only(warned).failed


def test_a_rule_that_was_both_is_an_error() -> None:
    """One rule may be an error in one data set and a warning in the next."""
    made = make_report([], {("prompt.empty", "error"): 1, ("prompt.empty", "warning"): 4}, [])
    assert (made.severities["prompt.empty"], made.counts["prompt.empty"]) == ("error", 5)
    assert (made.totals.errors, made.totals.warnings) == (1, 4)


def test_totals_are_sums_over_the_files() -> None:
    files = [InputReport(f"{n}.jsonl", "", 10, "openai", 10 * n, 9 * n, n) for n in (1, 2)]
    totals = make_report(files, {}, [], repaired=3).totals
    assert (totals.read, totals.kept, totals.rejected, totals.repaired) == (30, 27, 3, 3)


@given(st.text(st.characters(), max_size=8))
def test_any_file_name_can_be_written_as_utf8(path: str) -> None:
    shown = readable(path)
    shown.encode("utf-8")
    if not any("\ud800" <= char <= "\udfff" for char in path):
        assert shown == path
