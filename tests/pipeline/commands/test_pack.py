"""`prep pack` as a user types it: what it writes, what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.output.open import open_files, read_manifest
from pipeline.output.verify import problems
from tests.support.packed_outputs import CHATS, TINY, write_records
from tests.support.packed_outputs import DEMO as FOLDER

DEMO = FOLDER / "sft.yaml"
GOOD = {"instruction": "Name a metal.", "output": "Iron."}


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_records(tmp_path / "chats.jsonl", CHATS[:20])


def test_demo_packs_and_verifies(tmp_path: Path) -> None:
    """The demo packs without a rejected record, and every file is as the manifest says."""
    out = tmp_path / "out"
    assert run(["pack", str(DEMO), "-o", str(out), "--quiet"]) == 0
    manifest = read_manifest(out)
    assert manifest["ledger"]["read"] == manifest["ledger"]["examples"] == 26
    assert problems(open_files(out)) == []
    assert run(["verify", str(out), "--quiet"]) == 0


def test_no_cache_leaves_none(chats: Path, tmp_path: Path) -> None:
    words = [f"dataset={chats}", f"model_name_or_path={TINY}", "template=default", "--no-cache"]
    assert run(["pack", *words, "-o", str(tmp_path / "out"), "--quiet"]) == 0
    assert not (tmp_path / "out" / ".cache").exists()
    assert problems(open_files(tmp_path / "out")) == []


def test_json_is_the_manifest(chats: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    words = [f"dataset={chats}", f"model_name_or_path={TINY}", "template=default", "--json"]
    assert run(["pack", *words, "-o", str(tmp_path / "out")]) == 0
    assert json.loads(capsysbinary.readouterr().out) == read_manifest(tmp_path / "out")


def test_the_next_step_keeps_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was said beside the configuration is said again, and names with blanks are quoted."""
    out = tmp_path / "o ut"
    assert run(["pack", str(DEMO), "cutoff_len=256", "--packing", "true", "hf_hub_token=s3cret", "-o", str(out)]) == 0
    step = capsys.readouterr().out.splitlines()[-1].split()
    assert step[:5] == ["prep", "train", str(DEMO), "cutoff_len=256", "packing=true"]
    assert f"tokenized_path='{out}'" in " ".join(step) and "s3cret" not in step


def test_too_many_rejected_records_are_exit_1_and_the_others_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The place of the rejected ones is named; with max_rejected raised the same run ends with 0."""
    data = write_records(tmp_path / "a.jsonl", [GOOD, {**GOOD, "output": ""}])
    words = ["pack", f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "-o", str(tmp_path / "out")]
    assert run([*words, "--quiet"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "max_rejected allows 0" in said.err and f"{tmp_path}/out/rejects" in said.err
    assert read_manifest(tmp_path / "out")["ledger"]["examples"] == 1
    assert run([*words, "--quiet", "max_rejected=1"]) == 0
    assert run([*words, "--strict", "max_rejected=1", "--quiet", "rules.answer.empty=warning"]) == 0


def test_quiet_prints_nothing(chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"dataset={chats}", f"model_name_or_path={TINY}", "template=default"]
    assert run(["pack", *words, "-o", str(tmp_path / "out"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_mistake_writes_nothing(chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"dataset={chats}", f"model_name_or_path={TINY}", "template=qwenn3", "-o", str(tmp_path / "out")]
    assert run(["pack", *words]) == 2
    assert 'did you mean "qwen3"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
