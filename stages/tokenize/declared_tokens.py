"""Tokens that a tokenizer folder declares beside tokenizer.json, read as transformers reads them.

    tokenizer_config.json     added_tokens_decoder, extra_special_tokens, additional_special_tokens, *_token
    special_tokens_map.json   the same names; read when there is no added_tokens_decoder
    added_tokens.json         text -> id, of old folders; read when there is no added_tokens_decoder

A token that tokenizer.json does not list is added behind its own ones: first those of `added_tokens_decoder` by their
stated ids, then the named ones, then the extra ones. The stated id is not looked at: the library numbers them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FLAGS = ("single_word", "lstrip", "rstrip")


def declared_tokens(
    config: Mapping[str, Any], special_map: Mapping[str, Any], added: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every declared token once, as an entry of `added_tokens` without its id, in the order of the library.

    The first list is that of `added_tokens_decoder`, whose flags also replace those of tokenizer.json; the second
    matters only for tokens that are nowhere else.

    Args:
        config: tokenizer_config.json.
        special_map: special_tokens_map.json.
        added: added_tokens.json, text -> id.

    Raises:
        ValueError: a declaration is of a form that transformers does not take either.
    """
    decoder = config.get("added_tokens_decoder")
    names = dict(config) if decoder is not None else {**config, **special_map}
    extra = names.get("extra_special_tokens") or names.get("additional_special_tokens") or []
    named = list(_named(names, extra))
    special = {_text(value) for value in [*named, *(extra if isinstance(extra, list) else ())]}
    by_name = {_text(value) for value in named}
    decoded = [_entry(value) for _, value in sorted(_decoded(decoder, added, special), key=lambda item: item[0])]
    for entry in decoded:
        entry["special"] = entry["special"] or entry["content"] in by_name
    others = [_entry(value, special=True) for value in [*named, *(extra if isinstance(extra, list) else ())]]
    return decoded, [entry for entry in others if entry["content"]]


def _named(names: Mapping[str, Any], extra: object) -> Iterator[object]:
    """Values of the named tokens: the usual ones, then those of the model (image_token and the like)."""
    yield from (names[key] for key in NAMED if names.get(key) is not None)
    for key, value in names.items():
        if key.endswith("_token") and key not in NAMED and (isinstance(value, str) or _is_token(value)):
            yield value
    if isinstance(extra, dict):
        yield from extra.values()
    elif not isinstance(extra, list):
        raise ValueError("extra_special_tokens must be a list of tokens, or an object of named ones")


def _decoded(decoder: object, added: Mapping[str, Any], special: set[str]) -> Iterator[tuple[int, object]]:
    if decoder is None:
        for text, number in added.items():
            if not isinstance(number, int):
                raise ValueError(f"added_tokens.json: the id of {text!r} must be a whole number")
            yield number, {"content": text, "special": text in special}
        return
    if not isinstance(decoder, dict):
        raise ValueError("added_tokens_decoder must be an object: id -> token")
    for number, value in decoder.items():
        if not number.isdecimal() or not _is_token(value):
            raise ValueError(f"added_tokens_decoder: {number!r} must be an id with an object that has `content`")
        yield int(number), value


def _is_token(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("content"), str)


def _text(value: object) -> str:
    return str(value["content"]) if isinstance(value, dict) and _is_token(value) else str(value)


def _entry(value: object, *, special: bool = False) -> dict[str, Any]:
    """One token with all its flags; a bare text is a special token."""
    if isinstance(value, str):
        value = {"content": value, "special": True}
    if not isinstance(value, dict) or not _is_token(value):
        raise ValueError(f"a special token must be a text or an object with `content`, not {str(value)[:40]!r}")
    marked = special or value.get("special") is True
    flags = {name: value.get(name) is True for name in _FLAGS}
    normalized = value.get("normalized")
    return {"content": value["content"], **flags} | {
        "normalized": normalized if isinstance(normalized, bool) else not marked,
        "special": marked,
    }
