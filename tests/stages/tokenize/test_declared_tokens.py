"""Tokens declared beside tokenizer.json become the ids that transformers gives them, or the folder is refused."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from registry.errors import UsageFault
from stages.tokenize.fitted import fit
from stages.tokenize.tokenizer_files import load_tokenizer_files

TINY = Path(__file__).parents[3] / "fixtures" / "tiny"
TEXT = "<|turn|>user hello <|stop|> <|pic|>x <|a|><|b|> </s> the end <s>"
TOKEN = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}


def folder_with(folder: Path, config: dict[str, Any], **files: dict[str, Any]) -> Path:
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def ours(folder: Path, text: str) -> list[int]:
    fitted = fit(load_tokenizer_files(str(folder)), None)
    ids: list[int] = Tokenizer.from_str(fitted.json_text).encode(text, add_special_tokens=False).ids
    return ids


def theirs(folder: Path, text: str) -> list[int]:
    transformers = pytest.importorskip("transformers")
    found = transformers.PreTrainedTokenizerFast.from_pretrained(str(folder))
    ids: list[int] = found.encode(text, add_special_tokens=False)
    return ids


def decoder(*texts: str, **flags: bool) -> dict[str, Any]:
    return {str(5000 + at): {"content": text, **TOKEN, **flags} for at, text in enumerate(texts)}


CASES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "decoder": ({"added_tokens_decoder": decoder("<|turn|>", "<|stop|>")}, {}),
    "decoder, not special": ({"added_tokens_decoder": decoder("<|turn|>", special=False, rstrip=True)}, {}),
    "additional": ({"additional_special_tokens": ["<|turn|>", "<|stop|>"]}, {}),
    "extra list": ({"extra_special_tokens": ["<|stop|>", {"__type": "AddedToken", "content": "<|a|>", **TOKEN}]}, {}),
    "extra object": ({"extra_special_tokens": {"image_token": "<|pic|>"}}, {}),
    "named": ({"image_token": "<|pic|>", "mask_token": "<|a|>", "eos_token": "<|stop|>"}, {}),
    "map": ({}, {"special_tokens_map": {"additional_special_tokens": ["<|turn|>"], "sep_token": "<|b|>"}}),
    "map beside a decoder": (
        {"added_tokens_decoder": decoder("<|turn|>")}, {"special_tokens_map": {"sep_token": "<|b|>"}},
    ),
    "added_tokens.json": ({}, {"added_tokens": {"<|b|>": 5001, "<|a|>": 5000}}),
    "all": (
        {"added_tokens_decoder": decoder("<|b|>"), "extra_special_tokens": ["<|a|>"], "image_token": "<|pic|>"}, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_declared_tokens_have_the_ids_of_transformers(case: str, tmp_path: Path) -> None:
    config, files = CASES[case]
    folder = folder_with(tmp_path / "tok", config, **files)
    assert ours(folder, TEXT) == theirs(folder, TEXT)
    assert ours(folder, TEXT) != ours(TINY, TEXT)


NAMES = st.sampled_from(["<|turn|>", "<|stop|>", "<|pic|>", "<|a|>", "<|b|>", "<s>", "hello"])
FLAGS = st.fixed_dictionaries({name: st.booleans() for name in TOKEN})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    decoded=st.none() | st.lists(st.tuples(NAMES, FLAGS), max_size=4, unique_by=lambda item: item[0]),
    extra=st.none() | st.lists(NAMES, max_size=3, unique=True) | st.dictionaries(st.just("image_token"), NAMES),
    named=st.dictionaries(st.sampled_from(["pad_token", "sep_token", "audio_token"]), NAMES),
    listed=st.sampled_from(["extra_special_tokens", "additional_special_tokens"]),
)
def test_any_declaration_gives_the_ids_of_transformers(
    decoded: list[tuple[str, dict[str, bool]]] | None, extra: Any, named: dict[str, str], listed: str
) -> None:
    pytest.importorskip("transformers")
    config: dict[str, Any] = dict(named)
    if decoded is not None:
        config["added_tokens_decoder"] = {
            str(5000 + at): {"content": text, **flags} for at, (text, flags) in enumerate(decoded)
        }
    if extra is not None:
        config[listed if isinstance(extra, list) else "extra_special_tokens"] = extra
    with tempfile.TemporaryDirectory() as name:
        folder = folder_with(Path(name), config)
        assert ours(folder, TEXT) == theirs(folder, TEXT)


@pytest.mark.parametrize(
    "config",
    [
        {"added_tokens_decoder": ["<|a|>"]},
        {"added_tokens_decoder": {"x": {"content": "<|a|>"}}},
        {"added_tokens_decoder": {"7": "<|a|>"}},
        {"extra_special_tokens": 5},
        {"extra_special_tokens": [5]},
    ],
)
def test_a_declaration_that_cannot_be_read_is_refused_by_name(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match=next(iter(config)) if config != {"extra_special_tokens": [5]} else "token"):
        load_tokenizer_files(str(folder_with(tmp_path / "tok", config)))


def test_a_new_token_in_a_vocabulary_with_holes_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path / "tok", {"extra_special_tokens": ["<|a|>"]})
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["model"]["vocab"]["far away"] = 90000
    path.write_text(json.dumps(raw))
    with pytest.raises(UsageFault, match="holes"):
        load_tokenizer_files(str(folder))
