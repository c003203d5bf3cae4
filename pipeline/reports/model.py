"""What a validation found, as plain data: the document of `prep validate --output-format json`, and nothing else.

Reporters take a `ValidationReport` and give text; they read no file and know no policy. Counts are exact, findings are
capped a rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from stages.core.findings import Finding

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Totals:
    """Of the whole run. read = kept + rejected. errors and warnings count findings, not records."""

    read: int = 0
    kept: int = 0
    rejected: int = 0
    repaired: int = 0
    errors: int = 0
    warnings: int = 0


@dataclass(frozen=True)
class InputReport:
    """One file. sha256: of its bytes as they are on disk. format: id, "" when it could not be told."""

    path: str
    sha256: str
    bytes: int
    format: str
    read: int
    kept: int
    rejected: int


@dataclass(frozen=True)
class ValidationReport:
    """Everything a reporter shows. severities: rule -> "error" | "warning" in this run. remarks: lines for people."""

    totals: Totals
    inputs: tuple[InputReport, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    severities: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    elapsed_s: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """The document of the contract."""
        return {
            "schema_version": SCHEMA_VERSION,
            "totals": dict(vars(self.totals)),
            "inputs": [dict(vars(item)) for item in self.inputs],
            "counts": dict(self.counts),
            "findings": [finding.as_dict() for finding in self.findings],
        }

    @property
    def failed(self) -> bool:
        """True when there is any error."""
        return self.totals.errors > 0


def errors_only(report: ValidationReport) -> ValidationReport:
    """The same without warnings and remarks."""
    counts = {rule: count for rule, count in report.counts.items() if report.severities.get(rule) == "error"}
    return replace(
        report,
        totals=replace(report.totals, warnings=0),
        counts=counts,
        findings=tuple(finding for finding in report.findings if finding.severity == "error"),
        severities=dict.fromkeys(counts, "error"),
        remarks=(),
    )


def make_report(
    inputs: Iterable[InputReport],
    counts: Mapping[tuple[str, str], int],
    findings: Iterable[Finding],
    *,
    repaired: int = 0,
    remarks: Iterable[str] = (),
    elapsed_s: float = 0.0,
) -> ValidationReport:
    """A report from what a run collected.

    Args:
        inputs: The files.
        counts: Findings by (rule, severity), exact.
        findings: Capped a rule, in the order of the input.
        repaired: Records that were repaired.
        remarks: Lines for people.
        elapsed_s: Seconds that the run took.
    """
    files = tuple(replace(item, path=readable(item.path)) for item in inputs)
    shown = tuple(finding._replace(path=readable(finding.path)) for finding in findings)
    by_rule: Counter[str] = Counter()
    by_severity: Counter[str] = Counter()
    severities: dict[str, str] = {}
    for (rule, severity), count in sorted(counts.items()):
        by_rule[rule] += count
        by_severity[severity] += count
        severities[rule] = "error" if "error" in (severity, severities.get(rule)) else severity
    totals = Totals(
        read=sum(item.read for item in files),
        kept=sum(item.kept for item in files),
        rejected=sum(item.rejected for item in files),
        repaired=repaired,
        errors=by_severity["error"],
        warnings=by_severity["warning"],
    )
    ordered = dict(sorted(by_rule.items()))
    return ValidationReport(totals, files, ordered, shown, severities, tuple(remarks), elapsed_s)


def readable(path: str) -> str:
    """A path as text that every encoding can write: bytes of a name that are not UTF-8 become escapes."""
    return path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()
