"""What a run will write is reported before it starts, and is about right."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.config import load_config
from pipeline.plan import make_plan
from pipeline.plan.types import Plan
from pipeline.runs.pack import disk_space as space
from pipeline.runs.pack.run import prepare

TINY = Path(__file__).parents[4] / "fixtures" / "tiny"
MiB = 1 << 20


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def plan_of(path: Path, *settings: str) -> Plan:
    words = [f"dataset={path}", f"model_name_or_path={TINY}", "template=qwen3", "packing=true", *settings]
    return make_plan(load_config(None, words, for_command="pack"), needs_tokens=True)


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    text = "The harbour was quiet before the morning tide came in. "
    lines = [{"instruction": f"{n}: {text * 3}", "output": text * (n % 7 + 1)} for n in range(3000)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_the_estimate_is_of_the_right_size(chats: Path, tmp_path: Path) -> None:
    """The tiny tokenizer makes twice as many tokens of a text as a large one: too low by half is as good as it gets."""
    plan = plan_of(chats)
    out = tmp_path / "out"
    cache, shards = space.expected_bytes(plan, out / ".cache" / "chunks")
    words = [f"dataset={chats}", f"model_name_or_path={TINY}", "template=qwen3", "packing=true"]
    done = prepare(load_config(None, words, for_command="pack"), out, lambda line: None)
    written = sum(path.stat().st_size for path in (out / ".cache" / "chunks").iterdir())
    assert 0.4 < cache / written < 2.5
    shard = sum(part["bytes"] for part in done.manifest["splits"]["train"]["shards"])
    assert 0.4 < shards / shard < 2.5
    assert space.shard_bytes(plan, done.manifest["ledger"]["tokens"]) == pytest.approx(shard, rel=0.02)
    again, _ = space.expected_bytes(plan, out / ".cache" / "chunks")
    assert again < cache / 2, "what is kept is not written again"


def test_compressed_input_counts_for_what_it_holds(chats: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(chats.read_bytes()))
    assert space.text_bytes(plan_of(chats)) == (chats.stat().st_size, True)
    assert space.text_bytes(plan_of(packed)) == (packed.stat().st_size * space.PACKED_RATIO, False)


def test_pairs_have_no_labels(chats: Path) -> None:
    class Pairs(NamedTuple):
        kind: str = "pref"

    stand_in: Any = Pairs()
    assert space.shard_bytes(stand_in, 1000) == 4000
    assert space.shard_bytes(plan_of(chats), 1000) == 8000


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1 KiB"), (300_000, "293 KiB"),
        (1_023_000, "999 KiB"), (1_040_000, "0.992 MiB"), (MiB, "1 MiB"), (int(1.5 * MiB), "1.5 MiB"),
        (1320 * MiB, "1.29 GiB"), (1 << 42, "4 TiB"),
    ],
)  # fmt: skip
def test_a_size_is_told_in_the_unit_that_fits(size_bytes: int, text: str) -> None:
    """On a disk of 300 KiB it said that "0 MiB are free"."""
    assert space.size_text(size_bytes) == text


@pytest.mark.parametrize(("free", "warned"), [(1 << 40, False), (MiB, True)])
def test_too_little_room_is_a_warning_before_the_start(
    chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, warned: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 40, 0, free))
    said: list[str] = []
    words = [f"dataset={chats}", f"model_name_or_path={TINY}", "template=qwen3"]
    prepare(load_config(None, words, for_command="pack"), tmp_path / "out", said.append)
    about = [line for line in said if "free on the disk" in line]
    assert bool(about) is warned
    if warned:
        assert "this run will write about" in about[0]
        assert "1 MiB are free" in about[0]
        assert str(tmp_path / "out") in about[0]
