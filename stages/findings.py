"""What a check says: a `Note` inside one record, and a `Finding` once it has a place and a severity.

Stages append notes; they know neither file nor severity. One place (`stages.collector`) turns them into findings,
so that one rule table and one policy decide what is an error.
"""

from __future__ import annotations

import json
import unicodedata
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
            found["hint"] = rule.mend
        return found


_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str) -> str:
    """Untrusted text made safe for a terminal, a log line or a page: every control, format, surrogate, private-use or
    unassigned character becomes its escape (`\\x1b`, `\\u202e`); ordinary text of any script stays."""
    if text.isascii() and text.isprintable():
        return text
    out = []
    for char in text:
        if unicodedata.category(char) in _HIDDEN:
            code = ord(char)
            out.append(f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
        else:
            out.append(char)
    return "".join(out)


def shown(value: object, limit_chars: int = 80) -> str:
    """A value as a finding shows it: JSON-like, cleaned, at most `limit_chars` characters."""
    if isinstance(value, str):
        text = value[: limit_chars + 1]
    elif value is None:
        text = "null"
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, (int, float)):
        text = str(value)[: limit_chars + 1]
    else:
        text = repr(value)[: limit_chars + 1] if not isinstance(value, (dict, list)) else _json(value, limit_chars)
    text = clean(text)
    return text if len(text) <= limit_chars else text[: limit_chars - 1] + "…"


def _json(value: object, limit_chars: int) -> str:
    import orjson

    try:
        text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # half a surrogate pair, an integer beyond 64 bits, nesting beyond 254: what JSON cannot say
        try:
            return repr(value)[: limit_chars + 1]
        except RecursionError:
            return "nested without end"
    return text[: limit_chars * 4 + 4].decode("utf-8", "ignore")


def pointer(*parts: str | int) -> str:
    """A JSON Pointer (RFC 6901) from its unescaped parts; `pointer()` is the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def as_json(document: object) -> str:
    """A document for stdout: JSON in printable ASCII, since texts and paths in it are untrusted."""
    return json.dumps(document).replace("\x7f", "\\u007f")
