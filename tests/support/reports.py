"""Reports with the findings that a test names, as a validation would make them."""

from __future__ import annotations

from typing import Any

from pipeline.reports.model import InputReport, ValidationReport, make_report
from stages.core.findings import Finding

HOSTILE = "\x1b[31m</code><script>alert(1)</script>\"&'\u202e"  # a terminal escape, markup, quotes, a reversal of text


def finding(rule: str = "role.unknown", severity: str = "error", line: int = 812, **changes: Any) -> Finding:
    """One finding in `data/train set.jsonl`, with some fields changed."""
    base = Finding(
        rule, severity, "data/train set.jsonl", line, line - 1, 4096, "/messages/3/role",
        '"asistant" is not a role; did you mean "assistant"?', "", "asistant",
    )  # fmt: skip
    return base._replace(**changes)


def report(*findings: Finding, counts: dict[tuple[str, str], int] | None = None) -> ValidationReport:
    """A report of one file of 1,000 records. counts: by (rule, severity), where they are not those of the findings."""
    inputs = [InputReport("data/train set.jsonl", "ab" * 32, 1234, "openai", 1000, 988, 12)]
    found: dict[tuple[str, str], int] = {}
    for item in findings:
        found[item.rule, item.severity] = found.get((item.rule, item.severity), 0) + 1
    return make_report(inputs, counts or found, findings)
