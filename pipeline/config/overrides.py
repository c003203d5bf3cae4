"""Settings on the command line: `key=value`, `--key value`, `--key=value`, `--flag`, `--no-flag`, in any mixture.

Only the key table can tell whether `--packing` takes the next word, so paths are found here as well:
`--bf16 sft.yaml cutoff_len=512` is a switch, a file and a setting.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from registry.errors import UsageFault

from .keys import Key, keys, renames

_SETTING = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)((?:\.[A-Za-z0-9_.-]+)?)=(.*)", re.DOTALL)
_SWITCH_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})


@dataclass(frozen=True)
class Arguments:
    """What stood on a command line: words that are no setting (files, folders), and settings in their raw form."""

    paths: tuple[str, ...]
    values: dict[str, object]


def parse_overrides(args: Sequence[str]) -> dict[str, object]:
    """Settings only. Raises UsageFault for anything else; the last of two equal keys wins."""
    found = parse_arguments(args)
    if found.paths:
        raise UsageFault(
            [f"{word}: is neither `key=value` nor `--key value`" for word in found.paths],
            hint="a file or folder stands before the settings",
        )
    return found.values


def parse_arguments(args: Sequence[str]) -> Arguments:
    """Splits a command line. Values stay text (a bare switch is True); nothing is checked against its type."""
    paths: list[str] = []
    values: dict[str, object] = {}
    problems: list[str] = []
    words = list(args)
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word.startswith("--") and len(word) > 2:
            at = _option(word[2:], words, at, values, problems)
        elif (match := _SETTING.fullmatch(word)) and _is_setting(match[1], match[2], word):
            if _find(_underscored(match[1])) is None and os.path.exists(word):
                problems.append(f"{word}: there is no key {match[1]!r}; to name the file: ./{word}")
            _put(values, _underscored(match[1]), match[2], match[3])
        elif re.fullmatch(r"-[A-Za-z]+", word):
            problems.append(f"{word}: there is no such option; settings are `key=value` or `--key value`")
        else:
            paths.append(word)
    if problems:
        raise UsageFault(problems)
    return Arguments(tuple(paths), values)


def _option(body: str, words: list[str], at: int, values: dict[str, object], problems: list[str]) -> int:
    """Reads one `--...` word and what belongs to it; the place of the next word comes back."""
    name, equals, text = body.partition("=")
    name, dot, inner = name.partition(".")
    name = name.replace("-", "_")
    if equals:
        _put(values, name, dot + inner, text)
        return at
    key = _find(name)
    if key is None and name.startswith("no_") and (switched := _find(name[3:])) and "bool" in switched.types:
        values[name[3:]] = False
        return at
    following = words[at] if at < len(words) else None
    if key is not None and key.is_switch:
        if following is not None and following.lower() in _SWITCH_WORDS:
            values[name] = following
            return at + 1
        values[name] = True
        return at
    if following is None or (following.startswith("--") and len(following) > 2):
        if key is None or "bool" in key.types:  # an unknown key is reported later, with its did-you-mean
            values[name] = True
        else:
            problems.append(f"--{body}: needs a value")
        return at
    if key is None and _SETTING.fullmatch(following):
        values[name] = True
        return at
    if key is not None and ("list" in key.types or "paths" in key.types or "floats" in key.types):
        return _several(name, words, at, values)
    _put(values, name, dot + inner, following)
    return at + 1


def _several(name: str, words: list[str], at: int, values: dict[str, object]) -> int:
    """`--report_to wandb tensorboard`: a list takes every following word that can only be a value."""
    taken = [words[at]]
    at += 1
    while at < len(words) and not words[at].startswith("-") and not _SETTING.fullmatch(words[at]):
        if words[at].endswith((".yaml", ".yml", ".json")):
            break  # the configuration file may come last
        taken.append(words[at])
        at += 1
    values[name] = taken[0] if len(taken) == 1 else taken
    return at


def _find(name: str) -> Key | None:
    old = renames().get(name)
    return keys().get(old.to if old else name)


def _underscored(name: str) -> str:
    """`cutoff-len` is how options are usually written; a name that is known neither way stays as it was typed."""
    other = name.replace("-", "_")
    return other if _find(other) is not None else name


def _is_setting(name: str, inner: str, word: str) -> bool:
    if _find(_underscored(name)) is not None:
        return True
    return not inner and "/" not in word.partition("=")[0]


def _put(values: dict[str, object], name: str, inner: str, text: str) -> None:
    """Stores `name=text`, or `name.inner=text` into the table of that name."""
    value = None if text == "null" else text
    if not inner:
        values[name] = value
        return
    table = values.setdefault(name, {})
    if isinstance(table, dict):
        table[inner[1:]] = value
