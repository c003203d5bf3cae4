"""The contract's JSON document."""

from __future__ import annotations

import orjson

from .model import ValidationReport


def write(report: ValidationReport) -> str:
    """One JSON document, keys in the contract's order, findings in the order of the input."""
    return orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
