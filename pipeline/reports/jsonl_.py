"""One finding a line, for `jq`, `grep` and log collectors."""

from __future__ import annotations

import orjson

from .model import ValidationReport


def write(report: ValidationReport) -> str:
    """The findings of the contract's document, each on its own line; nothing when there are none."""
    return "".join(orjson.dumps(finding.as_dict()).decode() + "\n" for finding in report.findings)
