"""Damaged and hostile configuration, data set and tokenizer files, made by chance from good ones.

The same seed gives the same files, so that a failure is found again by its number.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

RAW = "\ue000raw:"  # a text with this mark is written as it is, without quotes

GARBAGE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    -(1 << 31),
    1 << 31,
    1 << 63,
    1 << 64,
    10**30,
    0.5,
    -0.0,
    1e308,
    "",
    " ",
    "x",
    "auto",
    "null",
    "0",
    "-1",
    "\0",
    "a\0b",
    "\ud800",
    "é\u2028\u202e",
    "🤖" * 50,
    "..",
    "/dev/full",
    "/proc/self/mem",
    "~",
    "*",
    "[",
    "file://",
    "://",
    "http://[",
    "http://127.0.0.1:1/x",
    "%s%n{}",
    "{{ 1 }}",
    "{% raw %}",
    "(a+)+$",
    "[",
    "\\",
    "x" * 5000,
    "ONLINE",
    "REMOTE:x",
    [],
    {},
    [[]],
    [None],
    [1, 2],
    ["a", "a"],
    [{"a": []}],
    {"a": None},
    {"": ""},
    {"type": 1},
    {"type": "x"},
    {"String": ""},
    {"Regex": "("},
    {"Regex": ".*"},
    f"{RAW}NaN",
    f"{RAW}-Infinity",
    f"{RAW}1e999",
    f"{RAW}{'9' * 4400}",
    f"{RAW}{'[' * 2000}{']' * 2000}",
    f"train[:{'9' * 4400}]",
    f"train[:{'9' * 4400}%]",
    "train[",
    "train[:-0%]",
    "train+",
    "train[5:1]",
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value; of a list or a table with more than 40 members, the first 40."""
    found: list[tuple[Any, ...]] = []
    members = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for name, inner in members[:40]:
        found.append((*at, name))
        found += places(inner, (*at, name))
    return found


def mutated_json(value: Any, rng: random.Random) -> bytes:
    """One to three changes of a JSON document: of its values, then perhaps of its text or bytes."""
    changed = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        changed = _change(changed, rng)
    text = json.dumps(changed, indent=1, ensure_ascii=rng.random() < 0.8)
    text = _unquoted(text)
    return damaged(text, rng) if rng.random() < 0.25 else text.encode("utf-8", "surrogatepass")


def _change(value: Any, rng: random.Random) -> Any:
    paths = places(value)
    if not paths:
        return rng.choice(GARBAGE)
    path = rng.choice(paths)
    if rng.random() < 0.6:  # a value near the top says more than one of a thousand merges
        path = rng.choice([other for other in paths if len(other) <= 2])
    holder = value
    for name in path[:-1]:
        holder = holder[name]
    last = path[-1]
    kind = rng.randrange(6)
    if kind == 0:
        del holder[last]
    elif kind == 1:
        holder[last] = [holder[last]]
    elif kind == 2:
        holder[last] = {str(rng.choice(("x", "type", ""))): holder[last]}
    elif kind == 3 and isinstance(holder, dict):
        inner = holder.pop(last)
        holder[str(rng.choice(("", last + "s", last[:-1], last.upper(), "\0", "\ud800")))] = inner
    elif kind == 4 and len(path) > 1:
        holder[last] = copy.deepcopy(value[path[0]])
    else:
        holder[last] = copy.deepcopy(rng.choice(GARBAGE))
    return value


def _unquoted(text: str) -> str:
    mark = json.dumps(RAW)[1:-1]
    for quoted in (mark, RAW):
        while (at := text.find(f'"{quoted}')) >= 0:
            end = text.index('"', at + 1)
            text = text[:at] + text[at + 1 + len(quoted) : end] + text[end + 1 :]
    return text


def damaged(text: str, rng: random.Random) -> bytes:
    """A text as bytes that were cut off, flipped, encoded otherwise, doubled, or mixed with something else."""
    data = text.encode("utf-8", "surrogatepass")
    at = rng.randrange(len(data) + 1)
    ways = (
        lambda: data[:at],
        lambda: data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        lambda: (
            data[:at]
            + rng.choice((b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"}", b"]", b'"', b"{", b"\x1b[2J"))
            + data[at:]
        ),
        lambda: text.encode("utf-16", "surrogatepass"),
        lambda: text.encode("utf-32", "surrogatepass"),
        lambda: text.encode("latin-1", "replace").replace(b"a", b"\xe9"),
        lambda: b"\xef\xbb\xbf" + data,
        lambda: data + data,
        lambda: b"",
        lambda: b"\n\n",
        lambda: b"\x1f\x8b\x08\0" + data,
        lambda: b"[" * 100_000,
        lambda: b'{"a":' * 50_000,
        lambda: data.replace(b"\n", b"\r"),
        lambda: data.replace(b":", b"=", 1),
    )
    return rng.choice(ways)()


YAML_GARBAGE = (
    "",
    "~",
    "[]",
    "{}",
    "[[[]]]",
    "{a: {b: [c]}}",
    "true",
    "-1",
    "0",
    "1e999",
    ".inf",
    "-.inf",
    ".nan",
    "9" * 4400,
    "10" * 40,
    "1_000",
    "0x1F",
    "0o17",
    "12:30:45",
    "2024-02-30",
    "'",
    '"',
    '"\\0"',
    '"\\ud800"',
    '"\\U0010FFFF"',
    "!!python/object:os.system ls",
    "!!binary aGk=",
    "!!set {a, b}",
    "!<tag:x,2024:y> z",
    "*nowhere",
    "&a [*a]",
    "&a {b: *a}",
    "|",
    ">-",
    "| \n  text",
    "%x",
    "@x",
    "`x`",
    "- x",
    "a: b: c",
    "? x",
    "${PATH}",
    "${NOT_SET}",
    "${",
    "$${}",
    "${A:-${B}}",
    "x" * 5000,
    "日本",
    "a,b,,c",
    ",",
    "..",
    "/dev/full",
    "/dev/null",
    "/proc/self/mem",
    "no",
    "1%",
    "-5%",
    "101%",
    "5GB",
    f"{'9' * 400}GB",
    "9e99GB",
    "NaN",
    "1.5",
    "sft",
    "hf://x",
    "s3://",
    "http://[",
    "http://127.0.0.1:1/x",
    "{text.special-token: loud}",
    "{x: 1}",
    "[1, 2]",
    "[null]",
    "[{a: 1}]",
    "{1: 2}",
    "'train[:" + "9" * 4400 + "]'",
)

_BOMB = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9) if level else 'x'}]\n" for level in range(9))
YAML_LINES = (
    "? [a, b]\n: c\n",
    "? {a: b}\n: c\n",
    "{a: b}: c\n",
    "[x]: y\n",
    "? \n",
    ": x\n",
    "<<: *x\n",
    "<<: 1\n",
    "<<: [{stage: dpo}, 1]\n",
    "<<: {stage: [x]}\n",
    "---\n",
    "...\n",
    "---\nstage: dpo\n",
    "%YAML 9.9\n---\n",
    "\tstage: sft\n",
    " stage: sft\n",
    "stage\n",
    "- stage\n",
    _BOMB,
    "rules: &r {text.special-token: *r}\n",
    "1: 2\n",
    "null: x\n",
    "true: x\n",
    '"": x\n',
    '"\\0": x\n',
    "\ufeffstage: sft\n",
    "\u2028: x\n",
    "x" * 2000 + ": y\n",
    "stage: sft\nstage: sft\n",
    "'stage': sft\n",
    "!!str stage: sft\n",
    "&x stage: sft\n",
    "#" * 3000 + "\n",
    "a: " + "[" * 500 + "]" * 500 + "\n",
    "a: " + "{a: " * 300 + "}" * 300 + "\n",
    "- " * 400 + "x\n",
)


def mutated_yaml(lines: list[str], names: list[str], rng: random.Random) -> bytes:
    """One to three changes of a configuration file.

    Args:
        lines: The good file, a `key: value` each.
        names: Keys that may be added.
        rng: Decides.
    """
    changed = list(lines)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(6)
        if kind == 0 and changed:
            del changed[min(at, len(changed) - 1)]
        elif kind == 1 and changed:
            at = min(at, len(changed) - 1)
            changed[at] = f"{changed[at].partition(':')[0]}: {rng.choice(YAML_GARBAGE)}\n"
        elif kind == 2 and changed:
            changed.insert(at, rng.choice(changed))
        elif kind == 3:
            changed.insert(at, rng.choice(YAML_LINES))
        else:
            changed.insert(at, f"{rng.choice(names)}: {rng.choice(YAML_GARBAGE)}\n")
    text = "".join(changed)
    return damaged(text, rng) if rng.random() < 0.15 else text.encode("utf-8", "surrogatepass")
