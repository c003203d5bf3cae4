"""Mistakes on the command line end with exit 2 and one form of words, whether click finds them or prep."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from pipeline.cli import VERBS, run
from pipeline.usage import plain_words

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("bad.jsonl", "-dash.jsonl", "--two.jsonl", "-1h.jsonl"):
        (tmp_path / name).write_text(json.dumps(GOOD | ({"output": 5} if name == "bad.jsonl" else {})) + "\n")
    return tmp_path


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("word", ["-xh", "-hx", "-x", "-dash.jsonl", "-1h.jsonl", "-é"])
def test_an_unknown_letter_is_never_a_call_for_help(verb: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A gate that runs `prep validate data.jsonl -xh` must not pass because a page of help was printed."""
    assert run([verb, "bad.jsonl", word]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"there is no option {word}" in said.err
    assert (f"./{word}" in said.err) == ("." in word)


def test_help_is_still_asked_for_in_one_letter(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "bad.jsonl", "-h"]) == 0
    assert "Usage: prep validate" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["-dash.jsonl", "--two.jsonl", "-1h.jsonl"])
def test_a_file_whose_name_begins_with_a_dash(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--", name], [f"./{name}"]):
        assert run(["validate", *words]) == 0
        assert "1 record read" in capsys.readouterr().out


def test_values_of_options_may_begin_with_a_dash() -> None:
    command = click.Command("x", params=[click.Option(["-o", "--output"]), click.Option(["--quiet"], is_flag=True)])
    for words in (["-o", "-x"], ["-o-x"], ["--output", "-x"], ["--rate", "-1e-4"], ["--quiet", "-0.5"], ["-"]):
        assert plain_words("x", command, words) == words
    for words in (["--quiet", "-x"], ["-o", "x", "-x"]):
        with pytest.raises(Exception, match="there is no option -x"):
            plain_words("x", command, words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--vresion"], 'there is no option --vresion; did you mean "--version"?'),
        (["verify", "x", "--quite"], 'there is no option --quite; did you mean "--quiet"?'),
        (["template", "chek"], 'there is no prep template chek; did you mean "check"?'),
        (["template", "show"], "NAME is not given"),
        (["template", "check", "x"], "--tokenizer is not given"),
        (["trace", "x", "--row", "one"], '--row: "one" is not a whole number'),
        (["trace", "x", "--row"], "--row: needs a value"),
        (["stats", "x", "--epochs", "0"], "is not a number above 0"),
        (["inspect", "x", "--worst", "trunc"], 'one of truncated, longest, least-trained; did you mean "truncated"?'),
        (["verify", "--quiet=3", "x"], "--quiet: takes no value"),
        (["verify", "x", "y"], "y: one word too many"),
        (["verify", "x", "y", "z"], "y z: too many words"),
    ],
)
def test_every_mistake_is_told_in_the_same_words(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("prep: ") and says in first
