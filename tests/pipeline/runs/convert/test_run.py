"""A conversion from end to end: what is published, what never is, and that the engine does not show."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.cli import run
from tests.support.conversions import BAD, CHAT, TOOL, lines, write


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write(tmp_path / "chats.jsonl", [CHAT, {**CHAT, "id": 0.5}])


def test_the_input_is_never_written_to(chats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even under another name for the same file."""
    before = chats.read_bytes()
    other = chats.with_name("link.jsonl")
    other.symlink_to(chats)
    for out in (chats, other):
        assert run(["convert", "sharegpt→alpaca", str(chats), "-o", str(out)]) == 2
        assert "input" in capsys.readouterr().err
    assert chats.read_bytes() == before


def test_strict_publishes_nothing_lossy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, no output, and the report still says what it would have lost."""
    source = write(tmp_path / "in.jsonl", [TOOL])
    out, report = tmp_path / "out.jsonl", tmp_path / "lost.json"
    words = ["convert", "sharegpt→alpaca", str(source), "-o", str(out), "--strict", "--report", str(report)]
    assert run(words) == 1
    assert "not written" in capsys.readouterr().err
    assert not out.exists()
    assert json.loads(report.read_text())["totals"]["losses"] == 3
    assert json.loads(report.read_text())["output"] is None
    assert run(["convert", "sharegpt→openai", str(source), "-o", str(out), "--strict"]) == 0


def test_an_old_output_stays_when_nothing_is_published(tmp_path: Path) -> None:
    """A failed run changes nothing."""
    source = write(tmp_path / "in.jsonl", [BAD])
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    assert run(["convert", "sharegpt→alpaca", str(source), "-o", str(out)]) == 1
    assert out.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["in.jsonl", "out.jsonl"]


def test_the_bytes_do_not_depend_on_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process or two: the same output and report, in input order."""
    monkeypatch.setattr("pipeline.engine.open.SMALL_INPUT_BYTES", 0)
    monkeypatch.setattr("stages.core.records.Limits.__init__.__defaults__", (1 << 14, *_defaults()[1:]))
    source = write(
        tmp_path / "in.jsonl", [{**record, "id": number} for number in range(600) for record in (CHAT, TOOL)]
    )
    made = []
    for workers in ("1", "2"):
        out, report = tmp_path / f"{workers}.jsonl", tmp_path / f"{workers}.json"
        words = ["convert", "sharegpt→alpaca", str(source), "-o", str(out), "--report", str(report), "--quiet"]
        assert run([*words, "--workers", workers]) == 0
        made.append((out.read_bytes(), report.read_bytes().replace(str(out).encode(), b"")))
    assert made[0] == made[1]
    assert [record["id"] for record in lines(out)] == [number for number in range(600) for _ in range(2)]


def _defaults() -> tuple[int, ...]:
    from stages.core.records import Limits

    return Limits.__init__.__defaults__ or ()


def test_files_of_a_folder_become_one(tmp_path: Path) -> None:
    """In the order of their names."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("b", "a"):
        write(folder / f"{name}.jsonl", [{**CHAT, "id": name}])
    for spec in (str(folder), str(folder / "*.jsonl")):
        out = tmp_path / "out.jsonl"
        assert run(["convert", "sharegpt→sharegpt", spec, "-o", str(out)]) == 0
        assert [record["id"] for record in lines(out)] == ["a", "b"]


def test_a_report_and_an_output_are_two_files(chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also by another name of the same file, and neither may be a folder."""
    out = tmp_path / "out.jsonl"
    for report, problem in ((f"{tmp_path}/./out.jsonl", "is the output as well"), (str(tmp_path), "folder")):
        words = ["convert", "sharegpt→alpaca", str(chats), "-o", str(out), "--report", report]
        assert run(words) == 2
        assert problem in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["chats.jsonl"]
