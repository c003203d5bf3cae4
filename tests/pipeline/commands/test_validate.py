"""`prep validate` as a user types it: levels, report formats, and what is said of settings and names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import run
from tests.support.packed_outputs import TINY

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}


def write(path: Path, rows: list[bytes]) -> Path:
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    return path


@pytest.mark.parametrize("how", ["text", "json", "jsonl", "sarif", "junit", "html"])
def test_every_report_format(tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.jsonl", [json.dumps(GOOD).encode(), b"{"])
    assert run(["validate", str(path), "--output-format", how]) == 1
    assert "json." in capsys.readouterr().out


def test_severities_are_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--error, --warn, --off and --strict decide; a rule without which nothing can be encoded stays an error."""
    empty = write(tmp_path / "a.jsonl", [json.dumps(GOOD | {"output": ""}).encode(), json.dumps(GOOD).encode()])
    assert run(["validate", str(empty), "--quiet"]) == 1
    assert run(["validate", str(empty), "--quiet", "--warn", "answer.empty"]) == 0
    assert run(["validate", str(empty), "--quiet", "--warn", "answer.empty", "--strict"]) == 1
    assert run(["validate", str(empty), "--quiet", "--off", "answer.empty"]) == 0
    capsys.readouterr()
    assert run(["validate", str(empty), "--off", "json.syntax"]) == 2
    assert run(["validate", str(empty), "--off", "answer.emtpy"]) == 2
    assert '"answer.empty"' in capsys.readouterr().err


def test_quiet_prints_errors_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither warnings nor remarks; nothing at all when there is no error. The exit code is the same."""
    good, bad = json.dumps(GOOD).encode(), json.dumps(GOOD | {"output": 5}).encode()
    assert run(["validate", str(write(tmp_path / "a.jsonl", [good, good])), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["validate", str(write(tmp_path / "a.jsonl", [good, good, bad])), "--quiet"]) == 1
    said = capsys.readouterr()
    assert "a.jsonl:3 /output" in said.out and "1 error: " in said.out and said.err == ""
    assert "warning" not in said.out and "duplicate" not in said.out and "alpaca" not in said.out


def test_settings_that_need_tokens_are_told_when_there_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`cutoff_len=5` on its own checks nothing; with a model it does, and --quiet says nothing of it."""
    path = str(write(tmp_path / "a.jsonl", [json.dumps(GOOD).encode()]))
    for words in ([], ["template=default"]):
        assert run(["validate", path, "cutoff_len=5", *words]) == 0
        assert "no effect without model_name_or_path," in capsys.readouterr().err
    assert run(["validate", path, "cutoff_len=500", "template=default", f"model_name_or_path={TINY}"]) == 0
    assert run(["validate", path, "stage=sft", "max_samples=5"]) == 0
    assert run(["validate", path, "cutoff_len=5", "--quiet"]) == 0
    assert "no effect" not in capsys.readouterr().err


def test_rules_of_the_command_line_add_up(tmp_path: Path) -> None:
    """--error beside `rules.x=off` does not put the other one out of force."""
    good = json.dumps(GOOD).encode()
    path = str(write(tmp_path / "a.jsonl", [good, good]))
    assert run(["validate", path, "--error", "set.duplicate"]) == 1
    assert run(["validate", path, "rules.set.duplicate=error", "--off", "text.special-token"]) == 1


def test_all_files_that_are_missing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")]) == 2
    error = capsys.readouterr().err
    assert "one.jsonl: no such file" in error and "two.jsonl: no such file" in error


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "name files, folders or globs to check"),
        (["-"], "not read from a pipe"),
        (["metals"], "prep validate dataset=metals"),
        (["a.yaml", "b.jsonl"], "either one configuration file, or data files"),
        (["a.jsonl", "--error", "answer.emtpy"], '"answer.empty"'),
        (["cutof_len=5"], '"cutoff_len"'),
    ],
)
def test_what_cannot_be_checked_is_exit_2(
    words: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", [json.dumps(GOOD).encode()])
    assert run(["validate", *words]) == 2
    assert problem in " ".join(capsys.readouterr().err.split())


def test_a_configuration_and_the_files_that_it_names_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", [json.dumps(GOOD).encode(), b"{"])
    (tmp_path / "run.yaml").write_text("dataset: a.jsonl\n")
    reports = []
    for words in (["run.yaml"], ["a.jsonl"], ["dataset=a.jsonl"]):
        assert run(["validate", *words, "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        reports.append((report["totals"], report["counts"], [found["line"] for found in report["findings"]]))
    assert reports[0] == reports[1] == reports[2]
