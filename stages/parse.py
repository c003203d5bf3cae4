"""Parse: one record's bytes in, one JSON object out, or the reason why not. Version 1.

orjson reads; this module adds what RFC 8259 leaves open and a trainer must not guess at: a key given twice (readers
disagree on which value counts), integers that a 64-bit reader turns into floats, nesting that kills other readers.
A good record costs one `orjson.loads`, one count of quote characters and one walk over its values; only a record that
fails is read again, slowly, by `json`, to say what is wrong and where.

How a doubled key is found without a second parse: every string and key that reaches the decoded tree takes two
unescaped quotes in the text, so

    quotes in the text - escaped quotes = 2 * (keys + strings in the tree)      nothing was dropped
                                        > 2 * (keys + strings in the tree)      some key was, with its value
"""

from __future__ import annotations

import json
import math
from typing import Final, NoReturn

import orjson

from .encodings import guess_encoding
from .findings import Note, clean, pointer, shown

VERSION = 1
DEPTH_LIMIT = 64  # levels of nesting; real records stay under 20, other readers crash from 250 up
INT_MIN, INT_MAX = -(2**63), 2**64 - 1  # what orjson and every 64-bit reader hold exactly


class _Unparsed:
    """The type of UNPARSED; a class of its own, since a record may be any JSON value, null included."""

    def __repr__(self) -> str:
        return "UNPARSED"


UNPARSED: Final = _Unparsed()
_CUT = frozenset({"bytes.line-too-long", "bytes.bomb", "csv.ragged-row", "csv.unclosed-quote"})
_loads = orjson.loads


def parse(data: bytes, notes: list[Note]) -> object:
    """The object in `data`, or UNPARSED when a note now says why there is none.

    `notes`: the record's findings so far; new ones are appended. A record whose bytes were cut by the reader is not
    looked at. A key given twice and an integer beyond 64 bits are noted but do not hide the value: the last one of the
    key's values, the nearest float.
    """
    if notes and any(note.rule in _CUT for note in notes):
        return UNPARSED
    try:
        value = _loads(data)
    except ValueError:
        return _explain(data, notes)
    if type(value) is not dict:
        return _not_an_object(value, notes)
    # one pass over the values counts strings and keys; the common shapes (texts, a list of flat messages) inline
    texts = len(value)
    odd: list[object] = []
    for item in value.values():
        kind = type(item)
        if kind is str:
            texts += 1
        elif kind is list:
            for entry in item:
                kind = type(entry)
                if kind is dict:
                    texts += len(entry)
                    for inner in entry.values():
                        kind = type(inner)
                        if kind is str:
                            texts += 1
                        elif kind in _ODD:
                            odd.append(inner)
                elif kind is str:
                    texts += 1
                elif kind in _ODD:
                    odd.append(entry)
        elif kind in _ODD:
            odd.append(item)
    if odd:
        more, floats, containers = _count(odd)
        texts += more
        if containers > DEPTH_LIMIT - 4 and _depth(value) > DEPTH_LIMIT:
            return _too_deep(notes)
        if floats and _huge(data, notes):
            return value
    excess = data.count(b'"') - 2 * texts
    if excess and excess != _escaped_quotes(data):
        _doubled(data, notes)
    return value


_ODD = frozenset({dict, list, float})  # what the inline loop leaves to `_count`


def _count(values: list[object]) -> tuple[int, bool, int]:
    """Strings and keys below `values`, whether a float is among them, and how many containers there are."""
    texts = 0
    floats = False
    stack = values
    for node in stack:  # the list grows while it is read: breadth first without recursion
        if type(node) is dict:
            texts += len(node)
            items = iter(node.values())
        elif type(node) is list:
            items = iter(node)
        else:
            floats = True
            continue
        for item in items:
            kind = type(item)
            if kind is str:
                texts += 1
            elif kind is dict or kind is list:
                stack.append(item)
            elif kind is float:
                floats = True
    return texts, floats, len(stack)


def _depth(value: object) -> int:
    """Levels of nesting; stops counting one past the limit."""
    level = [value]
    deep = 0
    while level and deep <= DEPTH_LIMIT:
        deep += 1
        below: list[object] = []
        for node in level:
            below += node.values() if type(node) is dict else node  # type: ignore[operator,arg-type]  # only containers
        level = [node for node in below if type(node) is dict or type(node) is list]
    return deep


def _escaped_quotes(data: bytes) -> int:
    escaped = data.count(b'\\"')
    if escaped and b'\\\\"' in data:  # an escaped backslash before a quote: pairs must go before quotes are counted
        return data.replace(b"\\\\", b"").count(b'\\"')
    return escaped


def _not_an_object(value: object, notes: list[Note]) -> _Unparsed:
    names = {list: "an array", str: "a string", bool: "a truth value", int: "a number", float: "a number"}
    kind = "null" if value is None else names[type(value)]
    hint = ""
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        hint = 'a bare list of messages needs a key: {"messages": [...]}'
    notes.append(Note("json.not-an-object", "", f"the record is {kind}, not an object", shown(value), hint))
    return UNPARSED


def _too_deep(notes: list[Note]) -> _Unparsed:
    notes.append(Note("json.depth", "", f"nested more than {DEPTH_LIMIT} levels deep"))
    return UNPARSED


# --- the slow, exact reading of a record that failed -------------------------------------------------------------------


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
    seen: set[str] = set()
    doubled.twice = tuple(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]  # add returns None
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


def _doubled(data: bytes, notes: list[Note]) -> None:
    """Names the keys that `data`, which is valid JSON, gives twice."""
    for at, node in _tree(_SLOW.decode(data.decode())):
        if isinstance(node, _Doubled):
            for key in node.twice:
                notes.append(
                    Note(
                        "json.duplicate-key",
                        at + pointer(key),
                        f'the key "{clean(key)[:80]}" is given twice',
                        shown(node[key]),
                    )
                )


def _huge(data: bytes, notes: list[Note]) -> bool:
    """Looks for integers that became floats; True when there is one. Doubled keys are then named as well."""
    import re

    if not re.search(rb"\d{19}", data):
        return False
    before = len(notes)
    for at, node in _tree(_SLOW.decode(data.decode())):
        if isinstance(node, _Wide):
            notes.append(Note("json.huge-number", at, "the integer does not fit in 64 bits", shown(node.text)))
    if len(notes) == before:
        return False
    _doubled(data, notes)
    return True


def _explain(data: bytes, notes: list[Note]) -> _Unparsed:
    """Appends the one note that says why orjson refused `data`."""
    notes.append(_reason(data))
    return UNPARSED


def _reason(data: bytes) -> Note:
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
                if math.isinf(node) and _is_float(node.text)
                else ("json.huge-number", "integer")
            )
            return Note(rule, at, f"the {what} is too large for 64 bits", shown(node.text))
        if (found := _surrogate(node)) is not None:
            return Note(
                "json.lone-surrogate", at, f"half a surrogate pair, \\u{ord(found):04x}, is no character", shown(node)
            )
    return Note("json.depth", "", f"nested more than {DEPTH_LIMIT} levels deep")


def _is_float(text: str) -> bool:
    return not text.lstrip("-").isdigit()


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
