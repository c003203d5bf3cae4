"""`prep why OUT` says what an output was made of, and what the last run reused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import run

ROOT = Path(__file__).parents[3]
TINY = ROOT / "fixtures" / "tiny"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for part in range(3):
        lines = [{"instruction": f"What is {part} and {n}?", "output": f"It is {n}."} for n in range(20)]
        (folder / f"part{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def pack(data: Path, out: Path, *settings: str) -> int:
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", *settings]
    return run(["pack", *words, "-o", str(out)])


def why(out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run(["why", str(out)]) == 0
    return capsys.readouterr().out


def test_it_names_the_inputs_and_every_stage(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert pack(data, out) == 0
    said = why(out, capsys)
    for word in ("part0.jsonl", "part2.jsonl", "sha256", "data sets", "worker", "cutoff_len", "rules", "code"):
        assert word in said
    assert "0 of 3 reused" in said


def test_it_says_what_was_reused_and_the_run_says_why(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file changed: the other two are reused; then another packing: all three are."""
    out = tmp_path / "out"
    pack(data, out)
    path = data / "part1.jsonl"
    path.write_text(path.read_text().replace("It is 7.", "It was 7."))
    capsys.readouterr()
    pack(data, out)
    assert "changed since the last run: read: inputs" in capsys.readouterr().err
    assert "2 of 3 reused" in why(out, capsys)
    capsys.readouterr()
    pack(data, out, "packing=true")
    assert "config: packing false -> true" in capsys.readouterr().err
    assert "3 of 3 reused" in why(out, capsys)


def test_as_json(data: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out = tmp_path / "out"
    pack(data, out)
    capsysbinary.readouterr()
    assert run(["why", str(out), "--json"]) == 0
    found = json.loads(capsysbinary.readouterr().out)
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert found["key"] == manifest["key"]
    assert [entry["path"] for entry in found["made_of"]["read"]["inputs"]] == [f"part{n}.jsonl" for n in range(3)]


def test_without_a_cache_it_still_answers(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    pack(data, out, "--no-cache")
    assert "no cache" in why(out, capsys)


def test_what_is_no_output_is_the_users_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["why", str(tmp_path)]) == 2
    assert "manifest.json" in capsys.readouterr().err
