"""`prep trace` as a user types it: the answer for a person and as data, and the exit code of what is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run
from tests.support.packed_outputs import TINY, demo_output


@pytest.fixture(scope="module")
def out() -> str:
    return str(demo_output("cutoff_len=110", "shard_size=4096", "val_size=0.2", "shuffle=true"))


def data(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["trace", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_answer_names_text_and_place(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For a person: the token's text and file:line; with --json the same as data."""
    words = [out, "--row", "0", "--token", "1", "--tokenizer", str(TINY)]
    told = data(words, capsys)
    assert run(["trace", *words]) == 0
    text = capsys.readouterr().out
    assert f"{told['examples'][0]['file']}:{told['examples'][0]['line']}" in text
    assert json.dumps(told["text"]) in text
    assert told["trained"] is False and "masked" in text


def test_there_and_back(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A row names its source lines, and each of them names the row."""
    for part in data([out, "--row", "1"], capsys)["examples"]:
        places = data([out, "--source", f"{part['file']}:{part['line']}"], capsys)["places"]
        assert (1, part["start"]) in [(place["row"], place["start"]) for place in places if place["split"] == "train"]
        assert run(["trace", out, "--source", f"{part['file']}:{part['line']}"]) == 0
        assert "train row 1, " in capsys.readouterr().out


def test_without_a_tokenizer_the_place_is_still_known(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest whose tokenizer is gone; one that was given must be there."""
    for name in Path(out).iterdir():
        (tmp_path / name.name).symlink_to(name)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    manifest["run"]["model_name_or_path"] = "/nowhere"
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    found = data([str(tmp_path), "--row", "0", "--token", "1"], capsys)
    assert found["text"] is None and found["examples"][0]["line"] > 0
    assert run(["trace", str(tmp_path), "--row", "0", "--token", "1", "--tokenizer", "/nowhere"]) == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "what to trace is not given"),
        (["--row", "0", "--source", "a.jsonl:1"], "opposite questions"),
        (["--token", "3", "--source", "a.jsonl:1"], "opposite questions"),
        (["--row", "9999"], "rows are 0 to"),
    ],
)
def test_questions_without_an_answer(
    words: list[str], problem: str, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["trace", out, *words]) == 2
    assert problem in capsys.readouterr().err
