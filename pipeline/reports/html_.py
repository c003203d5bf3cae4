"""One self-contained page: no script, nothing fetched, every value escaped, and a policy that forbids the rest."""

from __future__ import annotations

from collections import defaultdict
from html import escape

from registry.rules import rules
from stages.findings import Finding, clean

from .model import ValidationReport
from .text_ import place, worst_first

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}td,th{border-bottom:1px solid #ddd;padding:.3rem .6rem;
text-align:left;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.9em;
overflow-wrap:anywhere}summary{cursor:pointer;padding:.3rem 0}.error{color:#b00020;font-weight:600}
.warning{color:#8a5a00;font-weight:600}.dim{color:#666}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}.error{color:#ff6b7f}
.warning{color:#e0b050}.dim{color:#999}}
""".replace("\n", "")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write(report: ValidationReport) -> str:
    """The whole page."""
    totals = report.totals
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>prep validate</title>',
        f"<style>{_STYLE}</style></head><body><h1>prep validate</h1>",
        f"<p>{totals.read:,} records read, {totals.kept:,} kept, {totals.rejected:,} rejected; ",
        f'<span class="error">{totals.errors:,} errors</span>, ',
        f'<span class="warning">{totals.warnings:,} warnings</span>.</p>',
        *[f"<p>{_safe(remark)}</p>" for remark in report.remarks],
        _inputs(report),
        _rules(report),
        "</body></html>\n",
    ]
    return "".join(parts)


def _safe(text: str) -> str:
    return escape(clean(text), quote=True)


def _inputs(report: ValidationReport) -> str:
    rows = "".join(
        f"<tr><td><code>{_safe(item.path)}</code></td><td>{_safe(item.format)}</td><td class=n>{item.bytes:,}</td>"
        f"<td class=n>{item.read:,}</td><td class=n>{item.kept:,}</td><td class=n>{item.rejected:,}</td>"
        f'<td><code class="dim">{_safe(item.sha256[:16])}</code></td></tr>'
        for item in report.inputs
    )
    head = "<tr><th>file<th>format<th class=n>bytes<th class=n>read<th class=n>kept<th class=n>rejected<th>sha256</tr>"
    return f"<h2>Files</h2><table>{head}{rows}</table>"


def _rules(report: ValidationReport) -> str:
    grouped: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        grouped[finding.rule].append(finding)
    return "<h2>Findings</h2>" + (
        "".join(_rule(rule_id, grouped[rule_id], report) for rule_id in worst_first(report)) or "<p>Nothing found.</p>"
    )


def _rule(rule_id: str, findings: list[Finding], report: ValidationReport) -> str:
    severity = report.severities.get(rule_id, "warning")
    rule = rules().get(rule_id)
    meaning, why, mend = (rule.meaning, rule.why, rule.mend) if rule else ("", "", "")
    rows = "".join(
        f"<tr><td><code>{_safe(place(finding))}</code></td><td><code>{_safe(finding.pointer)}</code></td>"
        f"<td>{_safe(finding.message)}{_hint(finding)}</td><td><code>{_safe(finding.value)}</code></td></tr>"
        for finding in findings
    )
    count = report.counts[rule_id]
    more = f"<p class=dim>{count - len(findings):,} more are not listed.</p>" if count > len(findings) else ""
    return (
        f'<details open><summary><span class="{_safe(severity)}">{_safe(severity)}</span> '
        f"<code>{_safe(rule_id)}</code> {count:,} · {_safe(meaning)}</summary>"
        f"<p class=dim>{_safe(why)} <b>Mend:</b> {_safe(mend)}</p>"
        f"<table><tr><th>where<th>pointer<th>what<th>value</tr>{rows}</table>{more}</details>"
    )


def _hint(finding: Finding) -> str:
    return f"<br><span class=dim>{_safe(finding.hint)}</span>" if finding.hint else ""
