"""One self-contained page: no script, nothing fetched, every value escaped, and a policy that forbids the rest."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from registry.rules import rules
from stages.core.findings import Finding

from .markup import page_environment
from .model import ValidationReport
from .text import place, worst_first


def write(report: ValidationReport) -> str:
    """The whole page."""
    grouped: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        grouped[finding.rule].append(finding)
    template = page_environment("pipeline.reports").get_template("validation.html")
    return template.render(
        totals=report.totals,
        remarks=report.remarks,
        inputs=report.inputs,
        rules=[_rule(rule_id, grouped[rule_id], report) for rule_id in worst_first(report)],
    )


def _rule(rule_id: str, findings: list[Finding], report: ValidationReport) -> dict[str, Any]:
    rule = rules().get(rule_id)
    count = report.counts[rule_id]
    return {
        "id": rule_id,
        "severity": report.severities.get(rule_id, "warning"),
        "meaning": rule.meaning if rule else "",
        "why": rule.why if rule else "",
        "hint": rule.hint if rule else "",
        "count": count,
        "places": [(place(finding), finding) for finding in findings],
        "unlisted": count - len(findings),
    }
