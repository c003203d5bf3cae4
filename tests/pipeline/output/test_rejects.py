"""`--rejects DIR`: a run's rejects replace those of the run before, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import run

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}
BAD = {"instruction": "Name a metal.", "input": "", "output": 5}
PAIR = {"instruction": "Name a metal.", "input": "", "chosen": "Iron.", "rejected": "Iron."}


def lines(path: Path, *records: object) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture(params=["validate", "convert"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    more = ["--to", "openai", "-o", str(tmp_path / "a.out.jsonl")] if request.param == "convert" else []
    return [request.param, *more, "--quiet"]


def test_what_an_earlier_run_rejected_goes(command: list[str], tmp_path: Path) -> None:
    """Repaired data leaves an empty folder, and files that are not prep's in it."""
    folder = tmp_path / "rr"
    data = tmp_path / "a.jsonl"
    assert run([*command, lines(data, GOOD, BAD), "--rejects", str(folder)]) == 1
    assert len(names(folder)) == 2
    mine = {"notes.md": "x", "01-chapter.jsonl": "{}\n", "02-x.findings.jsonl": "{}\n", "x.findings.jsonl": "{}\n"}
    for name, text in mine.items():
        (folder / name).write_text(text)
    assert run([*command, lines(data, GOOD), "--rejects", str(folder)]) == 0
    assert {name: (folder / name).read_text() for name in names(folder)} == mine


def test_rejects_that_are_fed_in_again_are_not_replaced(command: list[str], tmp_path: Path) -> None:
    """Repaired in place and checked with the same folder: refused, and it stays; in another folder it goes."""
    folder = tmp_path / "rr"
    run([*command, lines(tmp_path / "a.jsonl", GOOD, BAD), "--rejects", str(folder)])
    (repaired,) = (folder / name for name in names(folder) if "findings" not in name)
    lines(repaired, GOOD)
    before = names(folder)
    assert run([*command, str(repaired), "--rejects", str(folder)]) == 2
    assert names(folder) == before and json.loads(repaired.read_text()) == GOOD
    assert run([*command, str(repaired), "--rejects", str(tmp_path / "other")]) == 0


def test_a_run_that_fails_leaves_the_rejects_of_the_one_before(command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "rr"
    run([*command, lines(tmp_path / "a.jsonl", GOOD, BAD), "--rejects", str(folder)])
    before = names(folder)
    assert run([*command, str(tmp_path / "missing.jsonl"), "--rejects", str(folder)]) == 2
    assert names(folder) == before


def test_a_file_that_is_not_preps_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = tmp_path / "rr" / "00-a.jsonl"
    lines(theirs, "mine")
    words = ["validate", lines(tmp_path / "a.jsonl", BAD), "--rejects", str(theirs.parent)]
    assert run(words) == 2
    assert "was not written by prep" in capsys.readouterr().err
    assert theirs.read_text() == '"mine"\n'


def test_rejects_go_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = lines(tmp_path / "a.jsonl", BAD)
    assert run(["validate", data, "--rejects", data]) == 2
    assert "a.jsonl is a file, not a folder" in capsys.readouterr().err
    assert run(["validate", data, "--rejects", f"{data}/rr"]) == 2


def test_files_of_one_name_keep_rejects_of_their_own(tmp_path: Path) -> None:
    """Also when they are of different stages, and so checked one after the other."""
    pairs = lines(tmp_path / "pairs" / "a.jsonl", PAIR)
    words = [lines(tmp_path / "x" / "b.jsonl", BAD), lines(tmp_path / "x" / "a.jsonl", BAD), pairs]
    assert run(["validate", *words, "--rejects", str(tmp_path / "rr")]) == 1
    assert [name for name in names(tmp_path / "rr") if "findings" not in name] == [
        "00-b.jsonl", "01-a.jsonl", "02-a.jsonl",
    ]  # fmt: skip
