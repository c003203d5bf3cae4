"""Skim: a proof in a few microseconds that the long way has nothing to say about a record.

Most records are plain: only the conversation, two keys a message, no calls, no weights. For those a stricter schema, a
count of quotation marks and a look at the joined texts show that parsing, reading and every rule would end without a
note. `skim(data)` then gives the record's digest, the same that `RecordValidator` would; in any doubt it gives None and
the record takes the long way. It is only used where no `Conversation` is wanted, that is when records are only checked.

    strings of a plain record     quotation marks in its bytes
    1 key + 4 a message           2 x strings + the escaped ones, else a key is given twice
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import orjson
import xxhash

from registry.datasets import Fields

from .formats.turns import Turns
from .textrules import Test, suspicious

Skim = Callable[[bytes], int | None]

_loads = orjson.loads
_hash = xxhash.xxh3_64_intdigest
_TEXT = {"type": "string", "pattern": "\\S"}
_UNLABELLED = 2  # what the digest's seed holds in place of a KTO label


def skimmer(family: str, fields: Fields, kind: str, turns: Turns | None, has_marks: Test) -> Skim | None:
    """The skim of one data set, None where there is none. `turns`: its judge of role order, for chat families."""
    if turns is not None and kind == "sft" and fields.messages is not None:
        return _chat(fields, turns, has_marks)
    if family == "alpaca" and kind == "sft" and fields.prompt is not None and fields.response is not None:
        return _alpaca(fields, has_marks)
    if family == "pretrain" and fields.prompt is not None:
        return _pretrain(fields.prompt, has_marks)
    return None


def plain_keys(family: str, fields: Fields) -> tuple[str, ...]:
    """The keys of every record that is skimmed."""
    keys = (fields.prompt, fields.query, fields.response) if family == "alpaca" else (fields.messages or fields.prompt,)
    return tuple(key for key in keys if key is not None)


def _test(properties: dict[str, Any], required: list[str]) -> Callable[[Any], bool]:
    schema = {"type": "object", "additionalProperties": False, "required": required, "properties": properties}
    options = jsonschema_rs.RegexOptions()
    test: Callable[[Any], bool] = jsonschema_rs.validator_for(schema, offline=True, pattern_options=options).is_valid
    return test


def _chat(fields: Fields, turns: Turns, has_marks: Test) -> Skim | None:
    role_key, text_key, list_key = fields.role_tag, fields.content_tag, fields.messages
    if role_key is None or text_key is None or list_key is None:
        return None
    words = [word for word, role in turns.role_of.items() if role in ("user", "assistant", "system")]
    message = {
        "type": "object",
        "maxProperties": 2,
        "required": [role_key, text_key],
        "properties": {role_key: {"enum": words}, text_key: _TEXT},
    }
    plain = _test({list_key: {"type": "array", "minItems": 1, "items": message}}, [list_key])
    word_of, text_of = operator.itemgetter(role_key), operator.itemgetter(text_key)
    judge = turns.order

    def skim(data: bytes) -> int | None:
        try:
            value = _loads(data)
        except ValueError:
            return None
        if not plain(value):
            return None
        raw = value[list_key]
        if data.count(b'"') != 8 * len(raw) + 2 and not _escaped(data, 8 * len(raw) + 2):
            return None
        order = judge(tuple(map(word_of, raw)))
        if order.problems or order.remarks:
            return None
        texts = list(map(text_of, raw))
        if texts[-1] == texts[-2]:
            return None
        if order.start:
            texts.append(texts.pop(0))
        return _clean("\n".join(texts), len(texts), has_marks)

    return skim


def _alpaca(fields: Fields, has_marks: Test) -> Skim:
    prompt_key, query_key, response_key = fields.prompt, fields.query, fields.response
    assert prompt_key is not None
    assert response_key is not None
    properties: dict[str, Any] = {prompt_key: _TEXT, response_key: _TEXT}
    if query_key is not None:
        properties.setdefault(query_key, {"type": "string"})
    # a record without the query key takes the long way, so that the keys of a skimmed one are always the same
    plain = _test(properties, list(properties))
    strings = 4 * len(properties)

    def skim(data: bytes) -> int | None:
        try:
            value = _loads(data)
        except ValueError:
            return None
        if not plain(value):
            return None
        if data.count(b'"') != strings and not _escaped(data, strings):
            return None
        prompt, response = value[prompt_key], value[response_key]
        query = value[query_key] if query_key is not None else ""
        text = f"{prompt}\n{query}" if query else prompt
        return None if text == response else _clean(f"{text}\n{response}", 2, has_marks)

    return skim


def _pretrain(text_key: str, has_marks: Test) -> Skim:
    plain = _test({text_key: _TEXT}, [text_key])

    def skim(data: bytes) -> int | None:
        try:
            value = _loads(data)
        except ValueError:
            return None
        if not plain(value) or (data.count(b'"') != 4 and not _escaped(data, 4)):
            return None
        return _clean(value[text_key], 1, has_marks)

    return skim


def _escaped(data: bytes, expected: int) -> bool:
    """True when escaped quotation marks account for those beyond `expected`; False when that cannot be told quickly."""
    return b'\\\\"' not in data and data.count(b'"') - data.count(b'\\"') == expected


def _clean(joined: str, texts: int, has_marks: Test) -> int | None:
    """The digest, when nothing in the texts is worth a note."""
    data = joined.encode()
    if has_marks(joined) or suspicious(joined, data):
        return None
    return _hash(data, texts * 4 + _UNLABELLED)
