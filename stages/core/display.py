"""Untrusted text and values as they may be shown: control and direction characters escaped, long ones cut."""

from __future__ import annotations

import unicodedata

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
    except TypeError:  # a lone surrogate, an integer beyond 64 bits, nesting beyond 254: what JSON cannot say
        try:
            return repr(value)[: limit_chars + 1]
        except RecursionError:
            return "nested without end"
    return text[: limit_chars * 4 + 4].decode("utf-8", "ignore")


def pointer(*parts: str | int) -> str:
    """A JSON Pointer (RFC 6901) from its unescaped parts; `pointer()` is the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def cells(text: str) -> int:
    """Columns that a clean text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) or unicodedata.category(char) == "Me"
        else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )  # fmt: skip
