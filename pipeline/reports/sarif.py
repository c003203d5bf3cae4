"""SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a file.

Paths become relative URIs (absolute ones `file:`), the JSON Pointer a logical location, the record's byte offset a
property. Set-level findings have a file and no region.
"""

from __future__ import annotations

from pathlib import PurePath
from urllib.parse import quote

import orjson

from pipeline.installation import prep_version
from registry.rules import rules
from stages.core.display import clean
from stages.core.findings import Finding

from .model import ValidationReport

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def write(report: ValidationReport) -> str:
    """One SARIF log with one run."""
    used = sorted({finding.rule for finding in report.findings} | set(report.counts))
    index = {rule_id: position for position, rule_id in enumerate(used)}
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {**_driver(), "rules": [_rule(rule_id, report) for rule_id in used]}},
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": True, "exitCode": 1 if report.failed else 0}],
                "artifacts": [_artifact(item.path, item.bytes, item.sha256) for item in report.inputs],
                "results": [_result(finding, index) for finding in report.findings],
                "properties": {"totals": dict(vars(report.totals)), "counts": dict(report.counts)},
            }
        ],
    }
    return orjson.dumps(log, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _driver() -> dict[str, object]:
    return {"name": "prep", "semanticVersion": prep_version()}


def _rule(rule_id: str, report: ValidationReport) -> dict[str, object]:
    rule = rules().get(rule_id)
    level = report.severities.get(rule_id, "warning")
    if rule is None:
        return {"id": rule_id, "defaultConfiguration": {"level": level}}
    return {
        "id": rule_id,
        "shortDescription": {"text": rule.meaning},
        "fullDescription": {"text": f"{rule.meaning}: {rule.why}"},
        "help": {"text": rule.hint},
        "defaultConfiguration": {"level": level},
    }


def _artifact(path: str, size_bytes: int, sha256: str) -> dict[str, object]:
    found: dict[str, object] = {"location": {"uri": uri(path)}, "length": size_bytes}
    if sha256:
        found["hashes"] = {"sha-256": sha256}
    return found


def _result(finding: Finding, index: dict[str, int]) -> dict[str, object]:
    physical: dict[str, object] = {"artifactLocation": {"uri": uri(finding.path)}}
    if finding.line >= 1:
        physical["region"] = {"startLine": finding.line}
    location: dict[str, object] = {"physicalLocation": physical}
    if finding.pointer:
        location["logicalLocations"] = [{"fullyQualifiedName": clean(finding.pointer), "kind": "member"}]
    text = finding.message if not finding.hint else f"{finding.message} ({finding.hint})"
    return {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
        "level": finding.severity,
        "message": {"text": clean(text)},
        "locations": [location],
        "properties": {"record": finding.record, "byteOffset": finding.byte_offset, "value": finding.value},
    }


def uri(path: str) -> str:
    """A path as a URI reference; a URL stays one."""
    if "://" in path:
        return quote(path, safe=":/?&=%@+~,;")
    pure = PurePath(path)
    return pure.as_uri() if pure.is_absolute() else quote(pure.as_posix())
