"""What is wrong with a record that could not be read: the slow, exact reading by Python's own `json`.

Only records that fail come here. `json` is laxer than RFC 8259 in three ways (NaN and Infinity, lone surrogates,
numbers of any size), which is what lets it name those faults instead of giving up at them.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import NoReturn

from stages.core.display import clean, pointer, shown
from stages.core.findings import Note

from .text_encoding import guess_encoding

DEPTH_LIMIT = 64  # levels of nesting; real records stay under 20, other readers crash from 250 up
NOTES_LIMIT = 20  # of one kind in one record: a hostile one could hold a million
INT_MIN, INT_MAX = -(2**63), 2**64 - 1  # what orjson and every 64-bit reader hold exactly
_MANY_DIGITS = re.compile(rb"\d{19}")
_DIGITS = re.compile(r"-?\d+")


class _Doubled(dict[str, object]):
    """An object in which keys were given twice."""

    twice: tuple[str, ...] = ()


class _Wide(float):
    """A number that no 64-bit reader holds: an integer too wide, or a float beyond all bounds (then infinite)."""

    text = ""


class _NonFinite(ValueError):
    """NaN or Infinity was spelled out."""


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    doubled = _Doubled(plain)
    counts = Counter(key for key, _ in pairs)
    doubled.twice = tuple(key for key, count in counts.items() if count > 1)
    return doubled


def _integer(text: str) -> float:
    if len(text) <= 20:
        value = int(text)
        if INT_MIN <= value <= INT_MAX:
            return value
    wide = _Wide(text)  # float() reads any number of digits in linear time, int() refuses 4,300
    wide.text = text
    return wide


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        value = _Wide(value)
        value.text = text
    return value


def _constant(text: str) -> NoReturn:
    raise _NonFinite(text)


_SLOW = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant)


def _tree(value: object) -> list[tuple[str, object]]:
    """Every node under `value` with its JSON Pointer, in document order; as deep as DEPTH_LIMIT."""
    out: list[tuple[str, object]] = []
    stack: list[tuple[str, object, int]] = [("", value, 0)]
    while stack:
        at, node, level = stack.pop()
        out.append((at, node))
        if level >= DEPTH_LIMIT:
            continue
        if isinstance(node, dict):
            stack += [(at + pointer(key), item, level + 1) for key, item in reversed(node.items())]
        elif isinstance(node, list):
            stack += [(f"{at}/{index}", item, level + 1) for index, item in reversed([*enumerate(node)])]
    return out


def doubled_keys(data: bytes) -> list[Note]:
    """One note for each key that an object in `data`, valid JSON, gives more than once; at most NOTES_LIMIT."""
    notes: list[Note] = []
    for at, node in _tree(_SLOW.decode(data.decode())):
        if isinstance(node, _Doubled):
            for key in node.twice:
                what = f'the key "{clean(key[:80])}" is given more than once'
                notes.append(Note("json.duplicate-key", at + pointer(key), what, shown(node[key])))
                if len(notes) == NOTES_LIMIT:
                    return notes
    return notes


def wide_integers(data: bytes) -> list[Note]:
    """One note for each integer in `data`, which is valid JSON, that does not fit in 64 bits; at most NOTES_LIMIT."""
    if not _MANY_DIGITS.search(data):
        return []
    wide = [(at, node.text) for at, node in _tree(_SLOW.decode(data.decode())) if isinstance(node, _Wide)]
    what = "the integer does not fit in 64 bits"
    return [Note("json.huge-number", at, what, shown(text)) for at, text in wide[:NOTES_LIMIT]]


def reason(data: bytes) -> Note:
    """Why `data` is not JSON, or not JSON that a trainer can use: the first thing wrong with it."""
    if b"\0" in data and (note := _padding(data)) is not None:
        return note
    if data.startswith(b"\xef\xbb\xbf"):
        return Note("bytes.stray-bom", "", "a byte order mark stands in the middle of the file, before this record")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return _bad_utf8(data, error)
    body = text.strip(" \t\r\n")
    if not body:
        return Note("json.syntax", "", "the record is empty")
    lead = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _SLOW.raw_decode(body)
    except _NonFinite as error:
        return Note("json.non-finite", "", f"{error} is not a JSON value", str(error))
    except RecursionError:
        return Note("json.depth", "", f"nested more than {DEPTH_LIMIT} levels deep")
    except json.JSONDecodeError as error:
        return _syntax(body, error, lead)
    except ValueError as error:
        return Note("json.syntax", "", clean(str(error)))
    rest = body[end:].lstrip(" \t\r\n")
    if rest:
        return _trailing(rest, lead + len(body) - len(rest) + 1)
    for at, node in _tree(value):
        if isinstance(node, _Wide):
            rule, what = (
                ("json.non-finite", "number")
                if math.isinf(node) and not _DIGITS.fullmatch(node.text)
                else ("json.huge-number", "integer")
            )
            return Note(rule, at, f"the {what} is too large for 64 bits", shown(node.text))
        if (found := _surrogate(node)) is not None:
            return Note(
                "json.lone-surrogate", at, f"half a surrogate pair, \\u{ord(found):04x}, is no character", shown(node)
            )
    return Note("json.depth", "", f"nested more than {DEPTH_LIMIT} levels deep")


def _surrogate(node: object) -> str | None:
    texts = [node] if isinstance(node, str) else list(node) if isinstance(node, dict) else []
    for text in texts:
        for char in text:
            if "\ud800" <= char <= "\udfff":
                return str(char)
    return None


def _padding(data: bytes) -> Note | None:
    run = max(len(data) - len(data.lstrip(b"\0")), len(data) - len(data.rstrip(b"\0")))
    if run == 0 and b"\0\0" not in data:
        at = data.index(0)
        return Note("json.syntax", "", f"a NUL byte at offset {at}", hint="write it as \\u0000, or remove it")
    run = run or 2
    if run == len(data):
        return Note("bytes.nul-padding", "", f"{run} NUL bytes where a record should be")
    return Note(
        "bytes.nul-padding",
        "",
        f"a run of {max(run, 2)} NUL bytes in the record",
        shown(data.replace(b"\0", b"")[:200].decode("utf-8", "replace")),
    )


def _bad_utf8(data: bytes, error: UnicodeDecodeError) -> Note:
    guess = guess_encoding(data)
    hint = f"the text reads as {guess}: iconv -f {guess} -t UTF-8 OLD > NEW" if guess else ""
    around = data[max(0, error.start - 30) : error.start + 30].decode("utf-8", "backslashreplace")
    return Note(
        "bytes.bad-utf8",
        "",
        f"byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8",
        shown(around),
        hint,
    )


_BEGUN = frozenset({"t", "tr", "tru", "f", "fa", "fal", "fals", "n", "nu", "nul", "-"})  # a word cut off


def _syntax(body: str, error: json.JSONDecodeError, lead: int) -> Note:
    column = lead + error.pos + 1
    around = shown(body[max(0, error.pos - 30) : error.pos + 30])
    tail = body[error.pos :]
    if not tail or error.msg.startswith("Unterminated string") or tail in _BEGUN:
        return Note("json.truncated-line", "", "the record ends in the middle", shown(body[-60:]))
    hint = ""
    char = body[error.pos]
    before = body[: error.pos].rstrip()[-1:]
    if error.msg.startswith("Invalid control character"):
        hint = "line breaks and tabs inside a text are written \\n and \\t"
    elif char == "'":
        hint = "JSON takes double quotes; this looks like Python's repr: write records with json.dumps"
    elif char in "}]" and before == ",":
        hint = "remove the comma before the closing bracket"
    elif body[error.pos : error.pos + 4] in ("True", "Fals", "None"):
        hint = "true, false and null are lower case in JSON; write records with json.dumps"
    return Note("json.syntax", "", f"{error.msg[:1].lower()}{error.msg[1:]} at column {column}", around, hint)


def _trailing(rest: str, column: int) -> Note:
    if rest[0] in '{["':
        return Note("json.two-values", "", f"a second value starts at column {column}", shown(rest))
    hint = "remove the comma at the end of the line" if rest == "," else ""
    return Note("json.syntax", "", f"text after the value at column {column}", shown(rest), hint)
