"""The key of a run is derived, and cannot forget."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run
from pipeline.config import Config, load_config
from pipeline.config.keys import Key, keys
from pipeline.output.manifest import CACHE, KEYS
from pipeline.plan import make_plan
from pipeline.plan.types import Source
from pipeline.runs.pack import cache_key
from pipeline.runs.pack.cache_key import NO_ROWS, reasons_to_build, row_keys, run_key
from registry.datasets.types import Dataset
from registry.rules import Policy

ROOT = Path(__file__).parents[4]
TINY = ROOT / "fixtures" / "tiny"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"split": "train[:20]"}, {"split": "train[:30]"}, "data set demo: split train[:20] -> train[:30]"),
        ({"num_samples": 5}, {"num_samples": 7}, "data set demo: num_samples 5 -> 7"),
        ({}, {"columns": {"prompt": "instruction", "response": "other"}}, "data set demo: fields"),
    ],
)
def test_a_changed_entry_is_never_up_to_date(
    before: dict[str, object], after: dict[str, object], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"instruction": f"What is {n}?", "output": f"It is {n}.", "other": f"{n}!"} for n in range(40)]
    (tmp_path / "d.json").write_text(json.dumps(lines))
    words = ["pack", "dataset=demo", f"dataset_dir={tmp_path}", f"model_name_or_path={TINY}", "template=qwen3"]
    for entry in (before, after):
        info = {"demo": {"file_name": "d.json", **entry}}
        (tmp_path / "dataset_info.json").write_text(json.dumps(info))
        capsys.readouterr()
        assert run([*words, "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert "up to date" not in shown.out + shown.err
    assert said in shown.err


# --- configuration keys -----------------------------------------------------------------------------------------------

# another value than the default, where the first that fits the type would be refused
OTHER: dict[str, object] = {
    "template": "chatml", "template_date": "2020-02-02", "add_tokens": ["<extra>"], "add_special_tokens": ["<|more|>"],
    "rules": {"text.special-token": "error"}, "default_system": "Be brief.", "interleave_probs": [1.0],
    "compat": "llamafactory-0.9.2", "stage": "pt", "profile": "openai", "tool_format": "llama3", "overlong": "drop",
}  # fmt: skip


def other_value(key: Key, now: object) -> object:
    """A value of the key's type that is not the one it has."""
    if key.name in OTHER:
        return OTHER[key.name]
    if key.values:
        return next(value for value in key.values if value != now)
    first = key.types[0]
    if first == "bool":
        return not now
    if first in ("int", "bytes", "share"):
        return (now if isinstance(now, int) else 1) + 1
    if first == "float":
        return (now if isinstance(now, float) else 0.0) + 0.25
    return {"list": ["x"], "paths": ["x"], "floats": [1.0], "dict": {"x": 1}}.get(first, "x")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    data = tmp_path_factory.mktemp("data") / "d.jsonl"
    data.write_text('{"instruction": "Two and two?", "output": "Four."}\n')
    words = {"dataset": str(data), "model_name_or_path": str(TINY), "template": "qwen3", "stage": "sft"}
    return load_config(None, words)


def key_of(config: Config) -> str:
    plan = make_plan(config, needs_tokens=True)
    return run_key(plan, {path: "content" for source in plan.sources for path in source.files})[0]


@pytest.mark.parametrize("name", row_keys())
def test_another_value_of_a_key_that_decides_rows_is_another_key(name: str, config: Config) -> None:
    changed = config.with_values(**{name: other_value(keys()[name], config.get(name))})
    assert key_of(changed) != key_of(config)


BESIDE = [name for name, key in keys().items() if key.affects in ("run", "train") and name in load_config(None).values]


@pytest.mark.parametrize("name", BESIDE)
def test_another_value_of_any_other_key_is_the_same_key(name: str, config: Config) -> None:
    """An output is not made again for another learning rate, nor for another number of workers."""
    changed = config.with_values(**{name: other_value(keys()[name], config.get(name))})
    assert key_of(changed) == key_of(config)


def test_what_a_key_leads_to_is_in_the_key(config: Config, tmp_path: Path) -> None:
    """Keys that name files or decide the kind of rows stand by what the plan makes of them."""
    other = tmp_path / "other.jsonl"
    other.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
    same, tokenizer = tmp_path / "same", tmp_path / "tokenizer"
    shutil.copytree(TINY, same)
    shutil.copytree(TINY, tokenizer)
    assert key_of(config.with_values(model_name_or_path=str(same))) == key_of(config), "the same files"
    (tokenizer / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>", "model_max_length": 77}')
    changed: dict[str, object] = {
        "dataset": [str(other)], "model_name_or_path": str(tokenizer), "do_predict": True, "eval_dataset": [str(other)],
    }  # fmt: skip
    for name, value in changed.items():
        assert key_of(config.with_values(**{name: value})) != key_of(config), name


def test_every_key_says_what_it_affects() -> None:
    for name, key in keys().items():
        assert key.affects or key.status in ("accepted", "refused"), name
        assert not (key.secret and key.affects == "rows"), name
        assert key.through in ("", "plan"), name


# --- entries of dataset_info.json -------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Dataset)])
def test_every_field_of_a_data_set_is_in_the_key_or_decides_no_row(field: str, config: Config) -> None:
    plan = make_plan(config, needs_tokens=True)
    source = plan.sources[0]
    now = getattr(source.dataset, field)
    value: object = {bool: not now, int: 3, tuple: ("x",)}.get(type(now), "x") if now is not None else 3
    if dataclasses.is_dataclass(now):
        value = dataclasses.replace(now, prompt="x")
    changed = dataclasses.replace(plan, sources=(_with(source, field, value),))
    digests = dict.fromkeys(source.files, "content")
    assert (run_key(changed, digests)[0] == run_key(plan, digests)[0]) == (field in NO_ROWS)


def _with(source: Source, field: str, value: object) -> Source:
    dataset = copy.copy(source.dataset)
    object.__setattr__(dataset, field, value)
    return dataclasses.replace(source, dataset=dataset)


def test_rules_count_as_they_are_decided(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A severity that another prep ships with is another key, though no line of the configuration changed."""
    before = key_of(config)
    shipped = dict(cache_key.rules())
    rule = shipped["text.special-token"]
    monkeypatch.setattr(Policy, "severity", lambda self, name: "error" if name == rule.id else "off")
    assert key_of(config) != before


# --- the cache of chunks ----------------------------------------------------------------------------------------------


def test_a_chunk_is_kept_apart_by_its_back_end_and_not_by_the_cut(config: Config) -> None:
    """A killed run's chunks, whose ids nobody compared yet, are never believed by a run with another back end."""
    spec = make_plan(config, needs_tokens=True).batch_spec(None)
    assert spec.encode is not None

    def chunk_key(**changed: Any) -> str:
        assert spec.encode is not None
        return dataclasses.replace(spec, encode=dataclasses.replace(spec.encode, **changed)).content_key(0)

    shorter = dataclasses.replace(spec.encode.cut, limit_tokens=7)
    assert chunk_key(back_end="gigatoken") != chunk_key(back_end="tokenizers")
    assert chunk_key(cut=shorter) == chunk_key()
    assert chunk_key(cut=shorter, overlong="split") != chunk_key(overlong="split")
    assert dataclasses.replace(spec, code="other").content_key(0) != spec.content_key(0)
    named = dataclasses.replace(spec.sources[0], name="other")
    assert dataclasses.replace(spec, sources=(named,)).content_key(0) == spec.content_key(0), "a name is in no chunk"


def test_an_output_of_an_older_prep_is_made_again(config: Config, tmp_path: Path) -> None:
    words = [f"{name}={config.get(name)}" for name in ("model_name_or_path", "template")]
    words = ["pack", f"dataset={config.data.dataset[0]}", *words, "-o", str(tmp_path / "out")]
    assert run(words) == 0
    (tmp_path / "out" / CACHE / KEYS).write_text('{"read": {}, "versions": {"pack": 1}}')
    assert reasons_to_build(tmp_path / "out", "another", {}) == [
        "rebuilding: made by an older prep, whose key had other parts"
    ]
