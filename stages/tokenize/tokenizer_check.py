"""A tokenizer.json is somebody's program: its parts are looked at before a library runs them.

shape      every value of the type and range that the library's own files have
growth     how many times its normalizers and decoders may lengthen a text
patterns   a regular expression that may go back over a text again and again is tried out first, in a process that
           has little time and memory; the usual ones are not, and so a good tokenizer loads as fast as before
"""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from registry.errors import UsageFault

IDS_MOST = 1 << 31  # ids are kept in 32 bits
_GROWTH_MOST = 32  # times; the usual normalizers exchange one character for one
_PREPEND_MOST = 256  # characters
_PARTS_MOST = 256
_DEPTH_MOST = 16
_PROBE_S = 10
_PROBE_BYTES = 2 << 30
_PROBE_CHARS = 3_000
_HINT = "download it again; if it is your own, save it anew: AutoTokenizer.from_pretrained(...).save_pretrained(DIR)"


def check_tokenizer(raw: dict[str, Any], path: str) -> None:
    """Raises UsageFault, with what is wrong, for a tokenizer.json that no library should be given.

    raw: looked at already as far as `model.vocab` and `added_tokens` being there.
    """
    problem = _bad_model(raw["model"]) or _bad_added(raw.get("added_tokens") or []) or _bad_parts(raw)
    if problem:
        raise UsageFault(f"{path}: {problem}", hint=_HINT)
    patterns = {pattern for part in _parts_of(raw) for pattern in _patterns(part)}
    suspects = tuple(sorted(filter(_may_go_back, patterns)))
    if suspects and (said := _tried(suspects)):
        raise UsageFault(f"{path}: {said}", hint=_HINT)


# --- shape ------------------------------------------------------------------------------------------------------------


def _bad_model(model: dict[str, Any]) -> str:
    vocab = model["vocab"]
    if isinstance(vocab, list):
        for at, piece in enumerate(vocab):
            good = isinstance(piece, list) and len(piece) == 2 and isinstance(piece[0], str)
            if not good or type(piece[1]) not in (int, float):
                return f"model.vocab[{at}] is no pair of a text and its score"
    elif set(map(type, vocab.values())) != {int}:
        at = next(text for text, number in vocab.items() if type(number) is not int)
        return f"model.vocab: the id of {at[:40]!r} is no whole number"
    elif min(vocab.values()) < 0 or max(vocab.values()) >= IDS_MOST:
        return f"model.vocab: ids must lie between 0 and {IDS_MOST - 1:,}"
    merges = model.get("merges")
    if merges is None:
        return ""
    if not isinstance(merges, list):
        return "model.merges is no list"
    if not set(map(type, merges)) <= {str, list}:
        return "model.merges holds something that is no pair of texts"
    pairs = (merge for merge in merges if isinstance(merge, list))
    if not all(len(pair) == 2 and type(pair[0]) is str and type(pair[1]) is str for pair in pairs):
        return "model.merges holds something that is no pair of texts"
    return ""


def _bad_added(tokens: list[Any]) -> str:
    for at, token in enumerate(tokens):
        number = token.get("id")
        if type(number) is not int or not 0 <= number < IDS_MOST:
            return f"added_tokens[{at}].id must be a whole number between 0 and {IDS_MOST - 1:,}"
        if not token["content"]:
            return f"added_tokens[{at}].content is empty"
        for flag in ("special", "normalized", "lstrip", "rstrip", "single_word"):
            if type(token.get(flag, False)) is not bool:
                return f"added_tokens[{at}].{flag} must be true or false"
    return ""


_PARTS = ("normalizer", "pre_tokenizer", "decoder", "post_processor")
_LISTS = ("normalizers", "pretokenizers", "decoders", "processors")


def _parts_of(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every part of the tokenizer's pipeline, those inside sequences as well."""
    for name in _PARTS:
        if isinstance(raw.get(name), dict):
            yield from _flat(raw[name])


def _flat(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield part
    for name in _LISTS:
        for inner in part.get(name) or ():
            yield from _flat(inner)


def _bad_parts(raw: dict[str, Any]) -> str:
    for name in _PARTS:
        part = raw.get(name)
        if part is None:
            continue
        problem = _bad_part(part, name, 0)
        if problem:
            return problem
        parts = [*_flat(part)]
        if len(parts) > _PARTS_MOST:
            return f"{name} has {len(parts):,} parts"
        growth = 1.0
        for inner in parts:
            growth *= _growth(inner)
            if growth > _GROWTH_MOST:
                return f"{name} may lengthen a text more than {_GROWTH_MOST} times ({str(inner.get('type'))[:40]})"
    return ""


def _bad_part(part: object, where: str, depth: int) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        return f"{where} is no object with a type"
    if depth > _DEPTH_MOST:
        return f"{where} is nested more than {_DEPTH_MOST} deep"
    for name in _LISTS:
        inner = part.get(name)
        if inner is not None and not isinstance(inner, list):
            return f"{where}.{name} is no list"
        for at, item in enumerate(inner or ()):
            if problem := _bad_part(item, f"{where}.{name}[{at}]", depth + 1):
                return problem
    return ""


# --- growth -----------------------------------------------------------------------------------------------------------


def _growth(part: dict[str, Any]) -> float:
    """How many times a part may lengthen a text."""
    kind = part["type"]
    if kind == "Replace":
        pattern, content = part.get("pattern"), part.get("content")
        literal = pattern.get("String") if isinstance(pattern, dict) else None
        if not isinstance(content, str):
            return 1.0
        if isinstance(literal, str) and literal:
            return max(1.0, len(content) / len(literal))
        return float(1 + len(content))  # a pattern may match nothing at all, between any two characters
    if kind == "Prepend":
        return 1.0 if len(str(part.get("prepend", ""))) <= _PREPEND_MOST else float("inf")
    if kind == "Precompiled":
        return _longest_mapped(part.get("precompiled_charsmap"))
    return 1.0


def _longest_mapped(charsmap: object) -> float:
    """Of a table that maps texts to texts (a trie, then the texts): inf when one is longer than Unicode's own."""
    try:
        table = base64.b64decode(charsmap) if isinstance(charsmap, str) else b""
    except (binascii.Error, ValueError):
        return 1.0  # the library says so
    texts = table[4 + int.from_bytes(table[:4], "little") :].split(b"\0")
    return 1.0 if max(map(len, texts)) <= _PREPEND_MOST else float("inf")


# --- patterns ---------------------------------------------------------------------------------------------------------

_LOOP = re.compile(r"[^\\](?:[*+]|\{\d+,\d*\})[^()]*\)+(?:[*+]|\{\d+)|\([^()]*\|[^()]*\)(?:[*+]|\{\d)")
_BACK = re.compile(r"\\[1-9]|\\k<|\(\?<?[=!].*[*+].*[*+]")
_LOOPS = re.compile(r"(\.|\\[wWsSdDX]|\[[^\]]*\])[*+](?:\(?\1[*+]\)?){1,}")
_LONG = 4_000


def _patterns(part: dict[str, Any]) -> Iterator[str]:
    pattern = part.get("pattern")
    if isinstance(pattern, dict) and isinstance(pattern.get("Regex"), str):
        yield pattern["Regex"]


def _may_go_back(pattern: str) -> bool:
    """Whether a regular expression may try the same text in more ways than it has characters: a loop in a loop, two
    loops over the same, a back reference."""
    shapes = (_LOOP, _BACK, _LOOPS)
    return len(pattern) > _LONG or any(shape.search(pattern) for shape in shapes)


@lru_cache(8)
def _tried(patterns: tuple[str, ...]) -> str:
    """Tries patterns out in a process of its own. What is wrong with them, or nothing."""
    limits = f"{_PROBE_S}, {_PROBE_BYTES}, {_PROBE_CHARS}, {patterns!r}"
    shown = patterns[0] if len(patterns[0]) <= 60 else patterns[0][:59] + "…"
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE.format(limits=limits)], capture_output=True, timeout=_PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the pattern {shown!r} goes over a text again and again: {_PROBE_S} s were not enough for a short one"
    except (OSError, ValueError):  # no further process, or a pattern too long for one
        return f"the pattern {shown!r} may go over a text again and again, and no process could be started to try it"
    if done.returncode:
        return f"the pattern {shown!r} goes over a text again and again, or cannot be run at all"
    return ""


_PROBE = """
import os, resource
seconds, most, size, patterns = {limits}
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Regex, pre_tokenizers
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for pattern in patterns:
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    letters = [*dict.fromkeys(char for char in pattern if char.isprintable()), "a", "1", " ", "\\n", "x", "ab", "a "]
    for letter in letters[:200]:
        for end in ("", "!", "\\0"):
            split.pre_tokenize_str((letter * size)[:size] + end)
"""
