"""`--fix`: a repaired copy beside the input, every repair named, and the figures still add up."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run

FIXTURES = Path(__file__).parents[4] / "fixtures"
GOOD = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
THANKS = {"conversations": [*GOOD["conversations"], {"from": "human", "value": "Thanks"}]}
LOST = {"conversations": [{"from": "human", "value": "Hi"}]}


def write(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fix(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, Any]]:
    """(exit code, report) of `prep validate ... --json`."""
    code = run(["validate", *map(str, words), "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    totals = document["totals"]
    assert totals["read"] == totals["kept"] + totals["rejected"]
    assert all(item["read"] == item["kept"] + item["rejected"] for item in document["inputs"])
    assert sum(document["counts"].values()) == totals["errors"] + totals["warnings"]
    return code, document


def test_the_answers_that_a_guide_puts_into_the_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The MiniCPM guide's preference record: named, repaired, and packed from the copy."""
    source = FIXTURES / "sharegpt-dpo" / "invalid" / "preference.answers-in-prompt.minicpm.jsonl"
    code, document = fix(capsys, source)
    assert code == 1
    assert document["counts"] == {"preference.answers-in-prompt": 1}
    out = tmp_path / "repaired.jsonl"
    code, document = fix(capsys, source, "--fix", out)
    assert code == 0
    assert document["totals"] == {"read": 3, "kept": 3, "rejected": 0, "repaired": 1, "errors": 0, "warnings": 3}
    assert document["counts"] == {"preference.answers-in-prompt": 1, "repair.drop-copied-answers": 2}
    assert [turn["from"] for turn in lines(out)[1]["conversations"]] == ["human"]
    code, document = fix(capsys, out)
    assert (code, document["counts"]) == (0, {})
    shards = tmp_path / "shards"
    words = ["stage=dpo", f"model_name_or_path={FIXTURES / 'tiny'}", "template=qwen", "cutoff_len=512"]
    assert run(["pack", f"dataset={out}", *words, "-o", str(shards), "--quiet"]) == 0
    assert json.loads((shards / "manifest.json").read_text())["ledger"]["examples"] == 3


def test_what_needs_no_repair_is_copied_byte_for_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Spacing, escapes and wide numbers stay; what cannot be repaired is left out, and said."""
    odd = '{"conversations":  [{"from": "human", "value": "\\u00e9"}, {"from": "gpt", "value": "x"}], "n": 1.50}'
    source = tmp_path / "in.jsonl"
    wide = json.dumps({**THANKS, "n": 0}).replace('"n": 0', '"n": 0.12345678901234567890')
    source.write_text("\n".join([odd, wide, json.dumps(LOST), "{", odd]), encoding="utf-8")
    before = source.read_bytes()
    out = tmp_path / "out.jsonl"
    code, document = fix(capsys, source, "--fix", out)
    assert code == 1
    assert document["totals"]["repaired"] == 1
    assert document["totals"]["kept"] == 3
    assert document["counts"]["json.truncated-line"] + document["counts"]["repair.drop-trailing-user"] == 2
    written = out.read_text(encoding="utf-8").splitlines()
    assert written[0] == written[2] == odd
    assert '"n":0.12345678901234567890' in written[1]
    assert source.read_bytes() == before


def test_marks_and_line_ends_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Byte order marks, at the start and where files were joined, and CR LF."""
    text = json.dumps(GOOD).encode()
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\xef\xbb\xbf" + text + b"\r\n\xef\xbb\xbf" + text.replace(b"Hi", b"Ho") + b"\r\n")
    code, document = fix(capsys, source, "--fix", tmp_path / "out.jsonl")
    assert code == 0
    assert {"repair.bom": 2, "repair.crlf": 1}.items() <= document["counts"].items()
    assert (tmp_path / "out.jsonl").read_bytes() == text + b"\n" + text.replace(b"Hi", b"Ho") + b"\n"


def test_every_file_of_a_folder_has_its_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Same names and containers; a table becomes JSON lines."""
    folder = tmp_path / "in"
    write(folder / "a.jsonl", [GOOD, THANKS])
    (folder / "sub").mkdir()
    (folder / "sub" / "b.json").write_text(json.dumps([THANKS, GOOD], indent=1))
    with gzip.open(folder / "c.jsonl.gz", "wt") as file:
        file.write(json.dumps(THANKS) + "\n")
    (folder / "d.csv").write_text("instruction,output\na,b\n")
    out = tmp_path / "out"
    code, document = fix(capsys, folder, "--fix", out)
    assert code == 0
    assert document["totals"]["repaired"] == 3
    assert lines(out / "a.jsonl") == [GOOD, GOOD]
    assert json.loads((out / "sub" / "b.json").read_text()) == [GOOD, GOOD]
    assert json.loads(gzip.decompress((out / "c.jsonl.gz").read_bytes())) == GOOD
    assert lines(out / "d.jsonl") == [{"instruction": "a", "output": "b"}]


def test_the_input_is_never_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the file nor the folder that it lies in."""
    source = write(tmp_path / "in.jsonl", [THANKS])
    before = source.read_bytes()
    for out in (source, tmp_path):
        assert run(["validate", str(source), "--fix", str(out), "--quiet"]) == 2
        assert "input" in capsys.readouterr().err
    assert source.read_bytes() == before
    assert os.listdir(tmp_path) == ["in.jsonl"]


def test_no_copy_takes_the_place_of_another_input_or_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is repaired into its own subfolder; a table whose copy would be called as its neighbour's."""
    write(tmp_path / "data" / "a.jsonl", [GOOD])
    other = write(tmp_path / "data" / "sub" / "a.jsonl", [THANKS])
    before = other.read_bytes()
    assert run(["validate", str(tmp_path / "data"), "--fix", str(tmp_path / "data" / "sub")]) == 2
    assert f"{other} is an input" in capsys.readouterr().err
    assert other.read_bytes() == before and len(list((tmp_path / "data" / "sub").iterdir())) == 1
    (tmp_path / "two" / "a.csv").parent.mkdir()
    (tmp_path / "two" / "a.csv").write_text("instruction,output\nName a metal.,Iron.\n")
    write(tmp_path / "two" / "a.jsonl", [GOOD])
    assert run(["validate", str(tmp_path / "two"), "--fix", str(tmp_path / "out")]) == 2
    assert "two of the inputs have the same name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(["validate", str(other), "--fix", str(other / "x.jsonl")]) == 2


def test_a_repair_that_does_not_help_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The record is rejected as before, under its own findings."""
    record = {"conversations": [{"from": "Human", "value": "Hi"}, {"from": "gpt", "value": None}]}
    source = write(tmp_path / "in.jsonl", [record, GOOD])
    code, document = fix(capsys, source, "--fix", tmp_path / "out.jsonl")
    assert code == 1
    assert document["totals"]["repaired"] == 0
    assert not any(rule.startswith("repair.") for rule in document["counts"])
    assert lines(tmp_path / "out.jsonl") == [GOOD]


def test_strict_does_not_make_errors_of_repairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was repaired has been proven good."""
    source = write(tmp_path / "in.jsonl", [THANKS])
    assert fix(capsys, source, "--strict", "--fix", tmp_path / "out.jsonl")[0] == 0


def test_the_copy_does_not_depend_on_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process or two: the same bytes."""
    monkeypatch.setattr("pipeline.engine.open.SMALL_INPUT_BYTES", 0)
    source = write(tmp_path / "in.jsonl", [GOOD, THANKS, LOST] * 200)
    for workers in ("1", "2"):
        run(["validate", str(source), "--fix", str(tmp_path / f"{workers}.jsonl"), "--workers", workers, "--quiet"])
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert lines(tmp_path / "1.jsonl") == [GOOD] * 400
