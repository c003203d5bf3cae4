"""The data card and the command that makes an output again."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import load_config
from pipeline.output.open import open_files, read_manifest
from pipeline.output.verify import problems
from pipeline.reports.data_card import data_card
from pipeline.reports.rebuild_command import rebuild_command
from pipeline.runs.pack.run import prepare

ROOT = Path(__file__).parents[3]
DEMO, TINY = ROOT / "fixtures" / "demo", ROOT / "fixtures" / "tiny"
PAYLOADS: list[str] = json.loads((ROOT / "fixtures" / "hostile" / "payloads.json").read_text(encoding="utf-8"))


def pack(out: Path, *words: str) -> dict[str, Any]:
    prepare(load_config(None, list(words), for_command="pack"), out, lambda line: None, keep_cache=False)
    return read_manifest(out)


BASE = [f"dataset_dir={DEMO}", "dataset=demo_alpaca,demo_sharegpt", f"model_name_or_path={TINY}", "template=qwen3"]


def test_the_card_stands_in_the_output_and_is_verified(tmp_path: Path) -> None:
    """README.md is listed in the manifest, its front matter is what the hub reads, its figures are the ledger's."""
    manifest = pack(tmp_path / "out", *BASE, "packing=true", "cutoff_len=100", "val_size=0.2")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert any(entry["file"] == "README.md" for entry in manifest["files"])
    assert problems(open_files(tmp_path / "out")) == []
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["size_categories"] == ["n<1K"]
    assert {entry["split"] for entry in front["configs"][0]["data_files"]} == {"train", "validation"}
    for name, ledger in manifest["ledger"]["sources"].items():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}` | {ledger['read']}"))
        assert f"{ledger['tokens']:,}" in line
        assert f"{ledger['trained_tokens']:,}" in line
    for heading in ("Sources", "Counts", "Lengths", "Masks", "Records left out", "Findings", "How it was made"):
        assert f"\n## {heading}\n" in text


def test_the_card_is_a_function_of_the_content(tmp_path: Path) -> None:
    """Made twice, with other workers: the same bytes; the run block and the tokenizer's folder leave no trace in it."""
    cards = []
    for number in (1, 2):
        pack(tmp_path / str(number), *BASE, f"workers={number}")
        cards.append((tmp_path / str(number) / "README.md").read_bytes())
    assert cards[0] == cards[1]
    manifest = read_manifest(tmp_path / "1")
    report = json.loads((tmp_path / "1" / "report.json").read_bytes())
    assert data_card(manifest | {"run": {}}, report) == data_card(
        manifest | {"run": {"model_name_or_path": "x"}}, report
    )
    assert str(TINY) not in cards[0].decode()


def test_a_licence_that_is_given_is_named(tmp_path: Path) -> None:
    """`license` of dataset_info.json comes into the front matter and beside its source."""
    (tmp_path / "a.jsonl").write_text('{"instruction": "a", "output": "b"}\n', encoding="utf-8")
    info = {"mine": {"file_name": "a.jsonl", "license": "cc-by-4.0"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    pack(tmp_path / "out", f"dataset_dir={tmp_path}", "dataset=mine", f"model_name_or_path={TINY}", "template=qwen3")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(text.split("---\n")[1])["license"] == ["cc-by-4.0"]
    assert re.search(r"\| `mine` \| .*`cc-by-4\.0`", text)


@pytest.mark.parametrize(
    "payload", [*PAYLOADS, "a `code` | cell", "```\nfence", "--- \n---\nkey: value", "[x](javascript:1)"]
)
def test_hostile_names_stay_text(payload: str, tmp_path: Path) -> None:
    """A name that tries to end a cell, a code span, a fence or the front matter is shown and does nothing."""
    manifest = _fake(payload)
    text = data_card(manifest, {"counts": {payload: 1}})
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    front = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert set(front) >= {"pretty_name", "configs", "tags", "license"}
    body = text.split("\n---\n", 1)[1]
    prose = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", body, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<[a-zA-Z/!?]", prose)
    tables = [line for line in body.splitlines() if line.startswith("| ")]
    for head in ("| source | file |", "| source | records read |", "| rule | findings |"):
        at = next(number for number, line in enumerate(tables) if line.startswith(head))
        assert len(re.findall(r"(?<!\\)\|", tables[at])) == len(re.findall(r"(?<!\\)\|", tables[at + 1]))


def _fake(name: str) -> dict[str, Any]:
    ledger: dict[str, Any] = {
        "read": 1, "rejected": {name: 1}, "not_sampled": 0, "repeated": 0, "examples": 1, "dropped": {}, "tokens_in": 1,
        "tokens_lost": {}, "trained_tokens_in": 1, "trained_tokens_lost": {}, "tokens": 1, "trained_tokens": 1,
    }  # fmt: skip
    return {
        "kind": "lm", "stage": "sft", "packed": False, "cutoff_len": 8, "compat": "x", "key": "0" * 64,
        "template": {"name": name, "sha256": "0"}, "tokenizer": {"sha256": "0", "vocab_size": 1},
        "inputs": [{"source": name, "path": name, "format": name, "records": 1, "sha256": "0", "license": name}],
        "ledger": ledger | {"sources": {name: ledger}}, "options": {"stage": "sft", "default_system": name},
        "recipe": {"dataset": [name]}, "splits": {"train": {"rows": 1, "examples": 1, "tokens": 1, "fill_rate": None}},
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["packing=true", "cutoff_len=100", "val_size=0.3", "seed=7", "shuffle=true"],
        ["mask_history=true", "default_system=Be 'brief' and \"kind\".", "rules={text.control: off}", "strict=true"],
        ["mix_strategy=interleave_over", "interleave_probs=0.7,0.3", "overlong=drop", "add_tokens=<one>,<two>"],
        ["enable_thinking=false", "max_samples=4", "packing=true", "packing_strategy=sequential", "shard_size=4096"],
    ],
)
def test_the_command_makes_the_same_output(words: list[str], tmp_path: Path) -> None:
    """Key and every digest are the same when the command that a manifest gives is run."""
    first = pack(tmp_path / "first", *BASE, *words)
    rebuilt = shlex.split(rebuild_command(first))
    assert rebuilt[:2] == ["prep", "pack"]
    assert rebuilt[-2:] == ["-o", "OUT"]
    again = pack(tmp_path / "again", *rebuilt[2:-2])
    assert again["key"] == first["key"]
    assert again["splits"] == first["splits"]
    assert again["files"] == first["files"]
    assert f"model_name_or_path={TINY}" in rebuilt
    assert "model_name_or_path=DIR" in rebuild_command(first, portable=True)


def test_preferences_and_text_have_commands_too(tmp_path: Path) -> None:
    """The same for another stage, and for data sets given as paths."""
    for stage, data in (("dpo", "dpo.jsonl"), ("kto", "kto.jsonl"), ("pt", "text.jsonl")):
        words = [
            f"stage={stage}",
            f"dataset={DEMO / data}",
            f"model_name_or_path={TINY}",
            "template=llama3",
            "cutoff_len=64",
        ]
        first = pack(tmp_path / stage, *words)
        again = pack(tmp_path / f"{stage}2", *shlex.split(rebuild_command(first))[2:-2])
        assert again["key"] == first["key"]


def test_no_secret_of_a_url_comes_into_the_manifest(tmp_path: Path) -> None:
    """User name, password and query of a URL are not in the recipe."""
    from pipeline.plan.types import Plan
    from pipeline.runs.pack.make_manifest import _recipe
    from registry.rules import Policy

    words = ["dataset=https://user:secret@example.invalid/a.jsonl?token=hidden", f"model_name_or_path={TINY}"]
    config = load_config(None, words, for_command="pack")
    recipe = json.dumps(_recipe(Plan(config, "sft", "lm", (), Policy.make())))
    assert "example.invalid/a.jsonl" in recipe
    assert "secret" not in recipe
    assert "hidden" not in recipe
