"""JSON Lines: one finding a line, nothing else."""

from __future__ import annotations

import json

from pipeline.reports import reporter
from pipeline.reports.json_ import write as write_document
from pipeline.reports.jsonl_ import write
from tests.support.reports import finding, report


def test_jsonl_is_one_finding_a_line() -> None:
    lines = reporter("jsonl")(report(finding(), finding(line=900))).splitlines()
    assert [json.loads(line)["line"] for line in lines] == [812, 900]
    assert reporter("jsonl")(report()) == ""


def test_a_line_is_the_finding_of_the_json_document() -> None:
    made = report(finding(), finding("prompt.empty", "warning", -1, message="a\nb"))
    lines = write(made).split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == json.loads(write_document(made))["findings"]
