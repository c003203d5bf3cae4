"""The report for people: findings grouped by rule, worst first, and a closing summary. 80 columns, no need of colour.

error  role.unknown  2 findings
  a message's role is not one of the roles of the data set

  train.jsonl:812 /messages/3/role
      "asistant" is not a role; did you mean "assistant"?
  ...
  hint: correct the role, or name it in `tags` of dataset_info.json

1,000 records read, 988 kept, 12 rejected (1.2 %)
"""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Callable

from registry.rules import Rule, rules
from stages.core.display import cells, clean
from stages.core.findings import Finding

from .model import ValidationReport

COLUMNS = 80
CAP = 5  # findings shown of each rule
_INDENT = "  "

Paint = Callable[[str, str], str]

_ABOUT_A_SET = ("set.", "mapping.")  # rules whose general advice the set's own, where there is one, takes the place of


def write(report: ValidationReport, *, color: bool = False, cap: int = CAP) -> str:
    """The whole report.

    Args:
        report: What a validation found.
        color: Mark severities with terminal colours.
        cap: Findings shown of each rule.
    """
    paint = _colored if color else _plain
    lines: list[str] = []
    grouped: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        grouped[finding.rule].append(finding)
    table = rules()
    for rule_id in worst_first(report):
        lines += _group(rule_id, table.get(rule_id), grouped[rule_id], report, cap, paint)
    return "\n".join([*lines, *_summary(report, paint)]) + "\n"


def worst_first(report: ValidationReport) -> list[str]:
    """Rule ids: errors before warnings, then the most frequent first."""

    def badness(rule_id: str) -> tuple[bool, int, str]:
        return (report.severities.get(rule_id) != "error", -report.counts[rule_id], rule_id)

    return sorted(report.counts, key=badness)


def place(finding: Finding) -> str:
    """`path:line`, or what is known of it; with record and byte where the lines hold several records each."""
    path = clean(finding.path)
    if finding.line >= 0:
        several = finding.record >= finding.line  # more records before this one than lines
        beside = f" record {finding.record}, byte {finding.byte_offset}" if several else ""
        return f"{path}:{finding.line}{beside}"
    return path if finding.record < 0 else f"{path} record {finding.record}"


def _group(
    rule_id: str, rule: Rule | None, findings: list[Finding], report: ValidationReport, cap: int, paint: Paint
) -> list[str]:
    count = report.counts[rule_id]
    severity = report.severities.get(rule_id, "warning")
    lines = [f"{paint(severity, severity)}  {rule_id}  {_number(count, 'finding')}"]
    if rule is not None:
        lines += wrapped(rule.meaning, _INDENT)
    lines.append("")
    own = findings[0].hint if findings and rule_id.startswith(_ABOUT_A_SET) else ""
    if any(finding.hint != own for finding in findings[:cap]):
        own = ""
    for finding in findings[:cap]:
        lines.append(f"{_INDENT}{place(finding)} {clean(finding.pointer)}".rstrip())
        lines += wrapped(finding.message, _INDENT * 3)
        if finding.value.strip() and finding.value not in finding.message:
            lines += wrapped(f"value: {finding.value}", _INDENT * 3)
        if finding.hint and not own:
            lines += wrapped(finding.hint, _INDENT * 3)
    if count > cap:
        lines.append(f"{_INDENT}... {count - min(cap, len(findings)):,} more")
    if rule is not None:
        lines += wrapped(f"hint: {own or rule.hint}", _INDENT)
    return [*lines, ""]


def _summary(report: ValidationReport, paint: Paint) -> list[str]:
    totals = report.totals
    share = f" ({totals.rejected / totals.read:.1%})" if totals.rejected else ""
    lines = [f"{_number(totals.read, 'record')} read, {totals.kept:,} kept, {totals.rejected:,} rejected{share}"]
    if totals.repaired:
        lines.append(f"{totals.repaired:,} repaired")
    for severity, total in (("error", totals.errors), ("warning", totals.warnings)):
        named = [rule for rule in worst_first(report) if report.severities.get(rule) == severity]
        if named:
            listed = ", ".join(f"{rule} {report.counts[rule]:,}" for rule in named)
            head = paint(severity, _number(total, severity))
            folded = wrapped(f"{_number(total, severity)}: {listed}", "")
            lines += [head + folded[0][len(_number(total, severity)) :], *folded[1:]]
    if len(report.inputs) > 1:
        lines += [f"{_INDENT}{_file_line(item)}" for item in report.inputs[:20]]
        if len(report.inputs) > 20:
            lines.append(f"{_INDENT}... {len(report.inputs) - 20:,} more files")
    for remark in report.remarks:  # a command stays on one line, to be copied
        lines += [clean(remark)] if remark.startswith("  prep ") else wrapped(clean(remark), "")
    if not report.counts:
        lines.append("nothing found")
    else:
        lines.append(f"more about a rule: prep explain {worst_first(report)[0]}")
    if report.elapsed_s >= 0.05:  # shorter ones would read 0.0 s
        lines.append(f"{report.elapsed_s:.1f} s")
    return lines


def _file_line(item: object) -> str:
    path, form = clean(getattr(item, "path", "")), getattr(item, "format", "")
    read, rejected = getattr(item, "read", 0), getattr(item, "rejected", 0)
    return f"{path}: {form or 'unknown format'}, {read:,} read, {rejected:,} rejected"


def wrapped(text: str, indent: str) -> list[str]:
    """Lines of at most 80 columns; a word that is longer (a path) stays whole. Scripts that are written without spaces
    and take two columns a character break anywhere."""
    if not text.isascii():
        return _by_cells(clean(text), indent)
    return textwrap.wrap(
        clean(text), COLUMNS, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    ) or [indent.rstrip()]  # fmt: skip


_PIECES = re.compile(r"\s+|[^\s\u1100-\uffff\U00010000-\U0010ffff]+|.", re.DOTALL)


def _by_cells(text: str, indent: str) -> list[str]:
    lines, line, used = [], indent, len(indent)
    for piece in _PIECES.findall(text):
        blank = piece.isspace()
        if used + (1 if blank else cells(piece)) > COLUMNS and line.strip():
            lines.append(line.rstrip())
            line, used = indent, len(indent)
        if blank and not line.strip():
            continue
        line += " " if blank else piece
        used += 1 if blank else cells(piece)
    return [*lines, line.rstrip()]


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _plain(_: str, text: str) -> str:
    return text


def _colored(severity: str, text: str) -> str:
    import click

    return click.style(text, fg="red" if severity == "error" else "yellow", bold=True)
