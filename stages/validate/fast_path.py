"""Fast path: a proof in a few microseconds that the slow path makes no note on a record.

Most records are plain: only the conversation, two keys a message, no calls, no weights. For those a few look-ups, a
count of quotation marks and a look at the joined texts show that parsing, reading and every rule would end without a
note. `fast_path(value, data)`, of the decoded record and its bytes, then gives the record's digest, the same that
`RecordValidator` would, and its texts, from which `Renderer.plain` can write it; in any doubt it gives None and the
record takes the slow path. It is used where no `Conversation` is wanted.

    strings of a plain record     quotation marks in its bytes
    1 key + 4 a message           2 x strings + the escaped ones; more of them are another key, or one given twice

The count is the schema, too: once the known keys were found with a text behind each, any other key, string or doubled
key in the bytes would add to it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import xxhash

from registry.datasets.types import Fields
from stages.formats.roles import Turns

from .text import Test, suspicious_beside_marks

# digest; the turns' texts, user and assistant in turn, a system prompt after them; whether there is one
FastPassed = tuple[int, list[str], bool]
FastPath = Callable[[Any, bytes], FastPassed | None]

_hash = xxhash.xxh3_64_intdigest
_is_space = str.isspace
_CACHE_SEQUENCES = 4096
_UNLABELLED = 2  # what the digest's seed holds in place of a KTO label


def fast_path_of(family: str, fields: Fields, kind: str, turns: Turns | None, has_marks: Test) -> FastPath | None:
    """The fast path of one data set.

    Args:
        family: alpaca | sharegpt | openai | pretrain.
        fields: The column and tag map.
        kind: sft | pref | kto | pt | predict.
        turns: Judge of the order of roles, for chat families.
        has_marks: Whether a text may hold a special string, a thought tag or a media mark.

    Returns:
        A function of a decoded record and its bytes; None where every record has to take the slow path.
    """
    taken = plain_keys(family, fields)
    given = [key for key in vars(fields).values() if key is not None]
    if any(given.count(key) > 1 for key in taken):
        return None  # one field is read twice: a plain record is then more than it looks
    if turns is not None and kind == "sft" and fields.messages is not None:
        return _chat(fields, turns, has_marks)
    if family == "alpaca" and kind == "sft" and fields.prompt is not None and fields.response is not None:
        return _alpaca(fields, has_marks)
    if family == "pretrain" and fields.prompt is not None:
        return _pretrain(fields.prompt, has_marks)
    return None


def plain_keys(family: str, fields: Fields) -> tuple[str, ...]:
    """The keys of every record that is taken by the fast path."""
    keys = (fields.prompt, fields.query, fields.response) if family == "alpaca" else (fields.messages or fields.prompt,)
    return tuple(key for key in keys if key is not None)


def _chat(fields: Fields, turns: Turns, has_marks: Test) -> FastPath | None:
    role_key, text_key, list_key = fields.role_tag, fields.content_tag, fields.messages
    if role_key is None or text_key is None or list_key is None:
        return None
    plain = {word for word, role in turns.role_of.items() if role in ("user", "assistant", "system")}
    word_of, text_of = operator.itemgetter(role_key), operator.itemgetter(text_key)
    known: dict[tuple[Any, ...], int] = {}  # role words -> 1 after a system message, 0 without one, -1 when in doubt

    def judge(words: tuple[Any, ...]) -> int:
        start = -1
        if words and plain.issuperset(words):
            order = turns.order(words)
            start = -1 if order.problems or order.remarks else order.start
        if len(known) >= _CACHE_SEQUENCES:  # hostile input must not fill the memory
            known.clear()
        known[words] = start
        return start

    def fast_path(value: Any, data: bytes) -> FastPassed | None:
        try:
            raw = value[list_key]
            if len(value) != 1 or type(raw) is not list:
                return None
            words = tuple(map(word_of, raw))
            texts = list(map(text_of, raw))
            start = known.get(words)
            if start is None:
                start = judge(words)
            if start < 0:
                return None
            if start:
                texts.append(texts.pop(0))
            joined = "\n".join(texts)
        except (TypeError, LookupError):  # not of this shape
            return None
        if not _only(data, 8 * len(raw) + 2, joined):
            return None
        if "" in texts or True in map(_is_space, texts) or raw[-1][text_key] == raw[-2][text_key]:
            return None
        return _clean(joined, texts, start == 1, has_marks)

    return fast_path


def _alpaca(fields: Fields, has_marks: Test) -> FastPath:
    prompt_key, query_key, response_key = fields.prompt, fields.query, fields.response
    # a record without the query key takes the slow path, so that the keys of one on the fast path are always the same
    keys = tuple(key for key in (prompt_key, response_key, query_key) if key is not None)
    quotes = 4 * len(keys)
    texts_of = operator.itemgetter(*keys)

    def fast_path(value: Any, data: bytes) -> FastPassed | None:
        try:
            prompt, response, *rest = texts_of(value)
            if len(value) != len(keys) or not (type(prompt) is type(response) is str):
                return None
            strings = quotes
            if rest and type(rest[0]) is not str:
                if rest[0] is not None:
                    return None
                strings -= 2  # null, as an empty cell of a CSV file is read
        except (TypeError, LookupError):
            return None
        if not prompt or not response or _is_space(prompt) or _is_space(response):
            return None
        text = f"{prompt}\n{rest[0]}" if rest and rest[0] else prompt
        joined = f"{text}\n{response}"
        if text == response or not _only(data, strings, joined):
            return None
        return _clean(joined, [text, response], False, has_marks)

    return fast_path


def _pretrain(text_key: str, has_marks: Test) -> FastPath:
    def fast_path(value: Any, data: bytes) -> FastPassed | None:
        try:
            text = value[text_key]
        except (TypeError, LookupError):
            return None
        if type(text) is not str or not text or _is_space(text) or not _only(data, 4, text):
            return None
        return _clean(text, [text], False, has_marks)

    return fast_path


def _only(data: bytes, quotes: int, joined: str) -> bool:
    """True when the bytes hold `quotes` quotation marks and those of the texts, escaped, and no other."""
    found = data.count(b'"')
    # a quotation mark written as \u0022 would make up for one that is too many
    return found == quotes or (found == quotes + joined.count('"') and b"u0022" not in data)


def _clean(joined: str, texts: list[str], has_system: bool, has_marks: Test) -> FastPassed | None:
    """The proof, when nothing in the texts is worth a note."""
    if has_marks(joined):
        return None
    data = joined.encode()  # a copy, since the test before it left the text's UTF-8 in the string object
    if suspicious_beside_marks(joined, data):
        return None
    return _hash(data, len(texts) * 4 + _UNLABELLED), texts, has_system
