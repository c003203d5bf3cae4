"""Parse: one record's bytes in, one JSON object out, or the reason why not.

orjson reads; this module adds what RFC 8259 leaves open and a trainer must not guess at: a key given twice (readers
disagree on which value counts), integers that a 64-bit reader turns into floats, nesting that kills other readers.
A good record costs one `orjson.loads` and one of two proofs; only a record that fails is read again, slowly, by `json`,
to say what is wrong and where.

    flat records              one walk over the values and a count of quotation marks
    nested, compact bytes     writing the value again gives the same bytes: nothing was dropped or rounded
    nested, other bytes       the walk again, to the bottom

How a doubled key is found by counting: every string and key that reaches the decoded tree takes two unescaped quotes in
the text, so

    quotes in the text - escaped quotes = 2 * (keys + strings in the tree)      nothing was dropped
                                        > 2 * (keys + strings in the tree)      some key was, with its value
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from stages.core.display import shown
from stages.core.findings import Note

from .diagnose import DEPTH_LIMIT, doubled_keys, reason, wide_integers

_HEAD_BYTES = 96  # they show whether a record may be compact


class _Unparsed:
    """The type of UNPARSED; a class of its own, since a record may be any JSON value, null included."""

    def __repr__(self) -> str:
        return "UNPARSED"


UNPARSED: Final = _Unparsed()
_CUT = frozenset({"bytes.line-too-long", "bytes.bomb", "table.ragged-row", "table.unclosed-quote", "bytes.bad-utf8"})
_loads = orjson.loads


def parse(data: bytes, notes: list[Note], decoded: object = UNPARSED) -> object:
    """The object in `data`, or UNPARSED when a note now says why there is none.

    `notes`: the record's findings so far; new ones are appended. decoded: what orjson makes of `data`, when the caller
    has it. A record whose bytes were cut by the reader is not looked at. A key given twice and an integer beyond 64
    bits are noted but do not hide the value: the last one of the key's values, the nearest float.
    """
    if notes and any(note.rule in _CUT for note in notes):
        return UNPARSED
    value: Any = decoded
    if value is UNPARSED:
        try:
            value = _loads(data)
        except ValueError:
            notes.append(reason(data))
            return UNPARSED
    if type(value) is not dict:
        return _not_an_object(value, notes)
    compact = b'": ' not in data[:_HEAD_BYTES]
    if compact and len(value) > 1 and sum(map(_CONTAINERS.__contains__, map(type, value.values()))) > 1:
        if _same_again(value, data):  # tools beside the messages: the walk would go deep
            return value
        compact = False
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
        if compact and _same_again(value, data):
            return value
        more, floats, containers = _count(odd)
        texts += more
        if containers > DEPTH_LIMIT - 4 and _depth(value) > DEPTH_LIMIT:
            return _too_deep(notes)
        if floats and (wide := wide_integers(data)):
            notes += wide
    excess = data.count(b'"') - 2 * texts
    if excess and excess != _escaped_quotes(data):
        notes += doubled_keys(data)
    return value


_CONTAINERS = frozenset({dict, list})
_ODD = frozenset({dict, list, float})  # what the inline loop leaves to `_count`


def _wrapped(value: object, times: int) -> list[object]:
    outer = [value]
    for _ in range(times - 1):
        outer = [outer]
    return outer


def _levels_to_spare() -> int:
    """How many lists can stand around a value of DEPTH_LIMIT levels before orjson refuses to write it."""
    spare = 256
    while spare > 1:
        try:
            orjson.dumps(_wrapped(1, DEPTH_LIMIT + spare))
            break
        except orjson.JSONEncodeError:
            spare -= 1
    return spare


_SPARE = _levels_to_spare()
_HOLDER: list[object] = [None]
_OUTER = _wrapped(_HOLDER, _SPARE - 1)


def _same_again(value: object, data: bytes) -> bool:
    """True when the value is at most DEPTH_LIMIT deep and is written as `data`, byte for byte."""
    _HOLDER[0] = value
    try:
        return orjson.dumps(_OUTER)[_SPARE:-_SPARE] == data
    except orjson.JSONEncodeError:
        return False
    finally:
        _HOLDER[0] = None


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
            below += node.values() if type(node) is dict else node  # type: ignore[arg-type]  # only containers
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
