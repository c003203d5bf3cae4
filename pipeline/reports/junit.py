"""JUnit XML, which build servers read: a suite a file, a test case a rule that was broken in it.

Errors are failures; warnings are passing cases whose findings stand in `system-out`, so that a build fails exactly when
`prep validate` does.
"""

from __future__ import annotations

from collections import defaultdict
from xml.sax.saxutils import escape, quoteattr

from registry.rules import rules
from stages.core.display import clean
from stages.core.findings import Finding

from .model import InputReport, ValidationReport
from .text import place

_MOST_LINES = 100


def write(report: ValidationReport) -> str:
    """One `testsuites` document."""
    by_path: dict[str, dict[str, list[Finding]]] = {item.path: {} for item in report.inputs}
    for finding in report.findings:
        by_path.setdefault(finding.path, defaultdict(list)).setdefault(finding.rule, []).append(finding)
    reports = {item.path: item for item in report.inputs}
    suites = [_suite(path, found, reports.get(path)) for path, found in by_path.items()]
    tests = sum(max(1, len(found)) for found in by_path.values())
    failures = sum(_failed(found) for rules in by_path.values() for found in rules.values())
    head = f'<testsuites name="prep validate" tests="{tests}" failures="{failures}" errors="0">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *suites, "</testsuites>"]) + "\n"


def _failed(found: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in found)


def _suite(path: str, found: dict[str, list[Finding]], item: InputReport | None) -> str:
    failures = sum(map(_failed, found.values()))
    name = quoteattr(clean(path))
    lines = [f'  <testsuite name={name} tests="{max(1, len(found))}" failures="{failures}" errors="0">']
    if item is not None:
        pairs = {
            "format": item.format,
            "sha256": item.sha256,
            "read": item.read,
            "kept": item.kept,
            "rejected": item.rejected,
        }
        lines.append("    <properties>")
        lines += [
            f'      <property name="{key}" value={quoteattr(clean(str(value)))}/>' for key, value in pairs.items()
        ]
        lines.append("    </properties>")
    if not found:
        lines.append(f'    <testcase name="records" classname={name}/>')
    for rule_id, findings in sorted(found.items()):
        lines += _case(rule_id, findings, name)
    return "\n".join([*lines, "  </testsuite>"])


def _case(rule_id: str, findings: list[Finding], classname: str) -> list[str]:
    text = [f"{place(finding)} {finding.pointer}: {finding.message}" for finding in findings[:_MOST_LINES]]
    text += [f"hint: {hint}" for hint in dict.fromkeys(finding.hint for finding in findings[:_MOST_LINES]) if hint]
    if (rule := rules().get(rule_id)) is not None:
        text.append(f"hint: {rule.hint}")
    body = escape(_xml_text("\n".join(text)))
    lines = [f"    <testcase name={quoteattr(rule_id)} classname={classname}>"]
    if _failed(findings):
        message = quoteattr(_xml_text(f"{findings[0].message} ({len(findings)})"))
        lines.append(f"      <failure type={quoteattr(rule_id)} message={message}>{body}</failure>")
    else:
        lines.append(f"      <system-out>{body}</system-out>")
    return [*lines, "    </testcase>"]


def _xml_text(text: str) -> str:
    """Cleaned line by line: XML 1.0 has no place for most control characters, escaped or not."""
    return "\n".join(map(clean, text.split("\n")))
