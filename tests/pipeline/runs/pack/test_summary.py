"""The closing lines of `prep pack`: they agree with what `prep validate` says of the same records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.cli import run

RECORDS = [
    *({"instruction": "one", "output": "first answer"} for _ in range(3)),
    {"instruction": "q", "output": ""},
    {"instruction": 3, "output": "x"},
    {"instruction": "q", "output": "a", "text": "for nobody"},
]


@pytest.fixture
def words(tmp_path: Path, tiny: str) -> list[str]:
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    (tmp_path / "empty.jsonl").write_text("")
    data = f"dataset={tmp_path / 'bad.jsonl'},{tmp_path / 'empty.jsonl'}"
    return [data, f"model_name_or_path={tiny}", "template=qwen", "max_rejected=1.0", "--workers", "1"]


def rows(said: str) -> dict[str, tuple[int, set[str]]]:
    """Of each named line: the number it begins with, and the rules below it."""
    found: dict[str, tuple[int, set[str]]] = {}
    name = ""
    for line in said.split("\n\n")[0].splitlines():
        if match := re.match(r"(\w+) +([\d,]+)", line):
            name = match[1]
            found[name] = int(match[2].replace(",", "")), set()
        elif name and (match := re.match(r" +[\d,]+ (?:rejected by )?(\S+)$", line)):
            found[name][1].add(match[1])
    return found


def test_errors_and_warnings_stand_on_lines_of_their_own(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty file is an error, and was listed as a warning."""
    assert run(["pack", *words, "-o", str(tmp_path / "out")]) == 0
    found = rows(capsys.readouterr().out)
    assert found["records"] == (6, {"answer.empty", "shape.type"})
    assert found["errors"] == (3, {"bytes.empty"}), "what the lines of the rejected records say is not said again"
    assert {"set.duplicate", "shape.unmapped-text"} <= found["warnings"][1]


def test_with_strict_nothing_is_a_warning(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pack", *words, "--strict", "-o", str(tmp_path / "out")]) == 0
    found = rows(capsys.readouterr().out)
    assert "warnings" not in found
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["errors"][0] == report["totals"]["errors"]
    assert {"set.duplicate", "bytes.empty"} <= found["errors"][1]


def test_a_clean_set_has_neither_line(tmp_path: Path, tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text('{"instruction": "q", "input": "", "output": "a", "system": "s"}\n')
    words = [f"dataset={tmp_path / 'a.jsonl'}", f"model_name_or_path={tiny}", "template=qwen", "--workers", "1"]
    assert run(["pack", *words, "-o", str(tmp_path / "out")]) == 0
    assert not {"errors", "warnings"} & rows(capsys.readouterr().out).keys()
