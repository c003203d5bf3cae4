"""The cutoff table: each line is what packing with that cutoff then reports."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.inspect.cutoff_costs import CUTOFFS, Cost, cost, cutoff_table, suggest
from pipeline.inspect.history import load_history
from pipeline.output.open import read_manifest
from pipeline.output.shards import Shards
from pipeline.runs.pack.run import prepare

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "fixtures" / "demo"
BASE = [f"model_name_or_path={ROOT / 'fixtures' / 'tiny'}", "dataset_dir=."]


def pack(out: Path, *words: str) -> dict[str, Any]:
    """The manifest of a run."""
    config = load_config(None, [*BASE, *words], for_command="pack")
    return prepare(config, out, lambda line: None).manifest


def predicted(out: Path, cutoff: int) -> Cost:
    return cost(load_history(Shards(out, read_manifest(out))), cutoff)


def assert_same(told: Cost, manifest: dict[str, Any]) -> None:
    ledger = dict(manifest["ledger"])
    sources = ledger.pop("sources")
    assert told.ledger.as_dict() == ledger
    assert {name: ledger.as_dict() for name, ledger in told.by_source.items()} == sources
    shown = told.as_dict()
    for name, split in manifest["splits"].items():
        assert shown["splits"][name]["rows"] == split["rows"]
        if manifest["packed"]:
            assert shown["splits"][name]["fill_rate"] == split["fill_rate"]


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Conversations of one to five turns, some masked, some with an answer that only a long row can hold."""
    dice = random.Random(7)
    folder = tmp_path_factory.mktemp("talks")
    files = {}
    for name, count in (("one", 60), ("two", 25)):
        records = []
        for number in range(count):
            turns: list[dict[str, Any]] = []
            for _ in range(dice.randint(1, 5)):
                turns.append(
                    {
                        "role": "user",
                        "content": f"{name} {number} " + "why " * dice.randint(1, dice.choice([3, 20, 120])),
                    }
                )
                answer = {"role": "assistant", "content": "so " * dice.randint(1, dice.choice([3, 30, 150]))}
                turns.append(answer | ({"weight": 0} if dice.random() < 0.2 else {}))
            turns[-1].pop("weight", None)
            records.append({"messages": turns})
        records.insert(3, {"messages": [{"role": "user", "content": "x"}]})  # rejected whatever the limit is
        brief = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
        records += [{"messages": brief}] * 5
        files[name] = folder / f"{name}.jsonl"
        files[name].write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return files


WAYS = {
    "packed": ["packing=true"],
    "unpacked": [],
    "in order": ["packing=true", "packing_strategy=sequential"],
    "in a shuffled order": ["packing=true", "packing_strategy=sequential", "shuffle=true"],
    "dropped": ["packing=true", "overlong=drop"],
    "dropped, in order": ["packing=true", "packing_strategy=sequential", "shuffle=true", "overlong=drop"],
    "an error": ["overlong=error"],
    "dropped, an error": ["packing=true", "overlong=drop", "rules.length.dropped=error"],
    "strict": ["packing=true", "strict=true"],
    "last answer only": ["packing=true", "mask_history=true"],
    "one end mark": ["packing=true", "template=mistral"],
    "as 0.9.2": ["packing=true", "template=mistral", "compat=llamafactory-0.9.2"],
    "held out": ["packing=true", "val_size=0.2", "overlong=drop"],
    "mixed and repeated": ["packing=true", "mix_strategy=interleave_over", "interleave_probs=0.5,0.5"],
    "a sample": ["packing=true", "mix_strategy=interleave_under", "interleave_probs=0.9,0.1", "overlong=drop"],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_cutoff_costs_what_the_table_says(way: str, talks: dict[str, Path], tmp_path: Path) -> None:
    """Ledger, rows and fill of five cutoffs, told from an output made with one, are those of packing with each."""
    words = [f"dataset={talks['one']},{talks['two']}", "template=qwen3", *WAYS[way]]
    pack(tmp_path / "made", *words, "cutoff_len=96")
    for cutoff in (40, 72, 96, 200, 512):
        assert_same(predicted(tmp_path / "made", cutoff), pack(tmp_path / "again", *words, f"cutoff_len={cutoff}"))


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("dpo", ["dataset=demo_dpo", "template=qwen3"]),
        ("kto", ["dataset=demo_kto", "template=llama3"]),
        ("pt", ["dataset=demo_text", "template=empty"]),
        ("pt", ["dataset=demo_text", "template=empty", "packing=false"]),
        ("sft", ["dataset=demo_alpaca,demo_sharegpt,demo_openai", "template=qwen3", "packing=true"]),
    ],
)
def test_the_demo_costs_what_the_table_says(stage: str, words: list[str], tmp_path: Path) -> None:
    """The same for every kind of rows."""
    words = [*words, f"stage={stage}", f"dataset_dir={DEMO}"]
    pack(tmp_path / "made", *words, "cutoff_len=40")
    for cutoff in (20, 32, 40, 64, 512):
        assert_same(predicted(tmp_path / "made", cutoff), pack(tmp_path / "again", *words, f"cutoff_len={cutoff}"))


def test_a_record_lost_whole_to_a_short_cutoff_is_back_at_a_longer_one(tmp_path: Path) -> None:
    """What the limit rejected has left its lengths behind, so a longer cutoff is costed with it."""
    data = tmp_path / "a.jsonl"
    turns = [{"from": "human", "value": "why " * 300}, {"from": "gpt", "value": "so"}]
    short = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]
    data.write_text("".join(json.dumps({"conversations": talk}) + "\n" for talk in (turns, short)), encoding="utf-8")
    words = [f"dataset={data}", "template=qwen3", "rules={length.prompt-cut: error}"]
    manifest = pack(tmp_path / "made", *words, "cutoff_len=64")
    assert manifest["ledger"]["rejected"] == {"length.prompt-cut": 1}
    told = predicted(tmp_path / "made", 1024)
    assert (told.rejected, told.ledger.examples, told.rows) == (0, 2, 2)
    assert predicted(tmp_path / "made", 64).rejected == 1
    assert predicted(tmp_path / "made", 64).rejected_trained_tokens > 0


def test_the_suggestion_is_the_smallest_cutoff_that_keeps_nearly_all(tmp_path: Path, talks: dict[str, Path]) -> None:
    """Never more than half a percent of the trained tokens is lost at the cutoff that is suggested."""
    pack(tmp_path / "made", f"dataset={talks['one']}", "template=qwen3", "cutoff_len=96", "packing=true")
    table = cutoff_table(load_history(Shards(tmp_path / "made", read_manifest(tmp_path / "made"))))
    assert [row.cutoff_len for row in table] == [96, *CUTOFFS]
    told = suggest(table, 96)
    assert told is not None
    chosen = next(row for row in table if row.cutoff_len == told.cutoff_len)
    assert chosen.trained_share >= 0.995
    assert all(row.trained_share < 0.995 for row in table if row.cutoff_len < told.cutoff_len)
    assert "96" in told.reason


def test_split_records_have_no_table(tmp_path: Path, talks: dict[str, Path]) -> None:
    """Where a conversation is split depends on its text, which lengths do not tell."""
    pack(tmp_path / "made", f"dataset={talks['one']}", "template=qwen3", "cutoff_len=96", "overlong=split")
    history = load_history(Shards(tmp_path / "made", read_manifest(tmp_path / "made")))
    assert cutoff_table(history) == []
    assert suggest([], 96) is None
