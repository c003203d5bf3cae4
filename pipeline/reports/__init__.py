"""Reporters: one result in several forms. Each takes a `ValidationReport` and gives the whole output as text.

text    for people: grouped by rule, worst first, 80 columns
json    the contract's document        jsonl   one finding a line
sarif   SARIF 2.1.0, for code hosts    junit   for build servers, a test case a rule and file
html    one page, nothing fetched
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import ValidationReport


REPORTS = {  # name -> the module that writes it, loaded when it is requested
    "text": "text", "json": "json_", "jsonl": "jsonl_", "sarif": "sarif", "junit": "junit", "html": "html_",
}  # fmt: skip


def reporter(name: str) -> Callable[[ValidationReport], str]:
    """The function that writes a report in one of `REPORTS`. Raises KeyError for another name."""
    write: Callable[[ValidationReport], str] = importlib.import_module(f".{REPORTS[name]}", __name__).write
    return write
