"""What a check says: a `Note` inside one record, and a `Finding` once it has a place and a severity.

Stages append notes; they know neither file nor severity. One place (`stages.core.collector`) turns them into findings,
so that one rule table and one policy decide what is an error.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from registry.rules import rules


class Note(NamedTuple):
    """One thing wrong inside a record.

    rule: id from registry/rules.yaml. pointer: JSON Pointer into the record, in the user's own keys ("" is the whole
    record). message: where-free sentence with what is wrong. value: the offending value, cut and cleaned by
    `shown`. hint: what to do; empty means the rule's own remedy.
    """

    rule: str
    pointer: str
    message: str
    value: str = ""
    hint: str = ""


class Finding(NamedTuple):
    """A located note: the record of contract.md's `findings`. `line` is 1-based, `record` 0-based, -1 is unknown."""

    rule: str
    severity: str  # "error" | "warning"
    path: str
    line: int
    record: int
    byte_offset: int
    pointer: str
    message: str
    hint: str
    value: str

    def as_dict(self) -> dict[str, object]:
        """The finding as it stands in JSON output: with its rule's own remedy where it has no hint of its own."""
        found: dict[str, object] = self._asdict()
        if not self.hint and (rule := rules().get(self.rule)) is not None:
            found["hint"] = rule.hint
        return found


def as_json(document: object) -> str:
    """A document for stdout: JSON in printable ASCII, since texts and paths in it are untrusted."""
    return json.dumps(document).replace("\x7f", "\\u007f")
