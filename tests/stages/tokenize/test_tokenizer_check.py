"""Hostile and damaged tokenizer.json files: each is refused by name, and no good one is."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.tokenize import tokenizer_check
from stages.tokenize.backends import NASTY, ReferenceEncoder
from stages.tokenize.fitted import fit
from stages.tokenize.tokenizer_files import load_tokenizer_files


@pytest.fixture
def raw(tiny: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(tiny) / "tokenizer.json").read_text())
    return found


def use(folder: Path, raw: object) -> None:
    """All that a run does with a tokenizer."""
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    fitted = fit(load_tokenizer_files(str(folder)), None)
    ReferenceEncoder(fitted.json_text).encode(NASTY)


def _regex(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _set(raw: dict[str, Any], *path: Any, value: Any) -> None:
    for key in path[:-1]:
        raw = raw[key]
    raw[path[-1]] = value


HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "an id that is a word": lambda raw: _set(raw, "model", "vocab", "a", value="id"),
    "an id that is half": lambda raw: _set(raw, "model", "vocab", "a", value=1.5),
    "an id beyond 32 bits": lambda raw: _set(raw, "model", "vocab", "a", value=1 << 31),
    "an id below zero": lambda raw: _set(raw, "model", "vocab", "a", value=-1),
    "an added id that is a word": lambda raw: _set(raw, "added_tokens", 0, "id", value="id"),
    "an added id beyond 32 bits": lambda raw: _set(raw, "added_tokens", 0, "id", value=1 << 40),
    "an added token without an id": lambda raw: raw["added_tokens"][0].pop("id"),
    "a flag that is a number": lambda raw: _set(raw, "added_tokens", 0, "special", value=3),
    "merges of numbers": lambda raw: _set(raw, "model", "merges", value=[1, 2]),
    "a part that is a list": lambda raw: _set(raw, "normalizer", value=[1]),
    "a loop in a loop": lambda raw: _set(raw, "pre_tokenizer", value=_regex(r"(a+)+$")),
    "a loop over a choice": lambda raw: _set(raw, "pre_tokenizer", value=_regex(r"(a|a|b)*$")),
    "a loop inside a sequence": lambda raw: _set(
        raw, "pre_tokenizer", value={"type": "Sequence", "pretokenizers": [_regex(r"(x+x+)+y"), raw["pre_tokenizer"]]}
    ),
    "one becomes a million": lambda raw: _set(raw, "normalizer", value=_replace({"String": "a"}, "b" * 1_000_000)),
    "each grows tenfold": lambda raw: _set(
        raw, "normalizer", value={"type": "Sequence", "normalizers": [_replace({"String": "a"}, "a" * 10)] * 9}
    ),
    "nothing becomes much": lambda raw: _set(raw, "normalizer", value=_replace({"Regex": ""}, "b" * 1000)),
    "a long start": lambda raw: _set(raw, "normalizer", value={"type": "Prepend", "prepend": "b" * 100_000_000}),
    "many starts": lambda raw: _set(
        raw, "normalizer", value={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "b"}] * 1000}
    ),
    "a decoder that grows": lambda raw: _set(raw, "decoder", value=_replace({"String": "a"}, "b" * 1_000_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_name(name: str, raw: dict[str, Any], tmp_path: Path) -> None:
    HOSTILE[name](raw)
    with pytest.raises(UsageFault, match=r"tokenizer\.json"):
        use(tmp_path, raw)


def test_a_panic_while_encoding_is_a_fault(
    raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_check, "_may_go_back", lambda _: False)
    raw["pre_tokenizer"] = _regex(r"(a+)+$")
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    encoder = ReferenceEncoder(fit(load_tokenizer_files(str(tmp_path)), None).json_text)
    with pytest.raises(UsageFault, match="fails on a text"):
        encoder.encode(["a" * 40 + "!"])


def test_the_command_ends_with_two_and_one_line(raw: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"instruction": "' + "a" * 50 + '!", "output": "b"}\n')
    raw["pre_tokenizer"] = _regex(r"(a+)+$")
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    words = ["pack", "dataset=a.jsonl", "model_name_or_path=.", "template=default", "-o", "out"]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "(a+)+$" in done.stderr and "Traceback" not in done.stderr


USUAL = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
]


@pytest.mark.parametrize("pattern", USUAL)
def test_a_usual_pattern_starts_no_process(
    pattern: str, raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_check, "_tried", lambda _: "was tried")
    raw["pre_tokenizer"] = _regex(pattern)
    raw["normalizer"] = _replace({"String": " "}, "▁")
    use(tmp_path, raw)


def test_an_odd_pattern_that_does_no_harm_is_read(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["pre_tokenizer"] = _regex(r"(?:\r?\n)+|\w+")
    use(tmp_path, raw)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    found = [path] if path else []
    for key, item in list(pairs)[:6]:
        found += _places(item, (*path, key))
    return found


def test_no_mutant_ends_in_anything_but_a_fault(raw: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(raw)
    draw = random.Random(7)
    wrong = ["id", -1, 1.5, 1 << 31, 1 << 70, None, True, [], {}, "", [[]], {"type": 5}, {"type": "Nothing"}, "\ud800"]
    for _ in range(250):
        mutant = json.loads(text)
        path = draw.choice(_places(mutant))
        holder = mutant
        for key in path[:-1]:
            holder = holder[key]
        if draw.random() < 0.2:
            del holder[path[-1]]
        else:
            holder[path[-1]] = draw.choice(wrong)
        try:
            use(tmp_path, mutant)
        except UsageFault:
            continue
