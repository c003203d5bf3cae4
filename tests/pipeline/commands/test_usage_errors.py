"""Mistakes on the command line end with exit 2 and one form of words, whether click finds them or prep."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from pipeline.cli import COMMANDS, run
from pipeline.commands.usage_errors import plain_words

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("bad.jsonl", "-dash.jsonl", "--two.jsonl", "-1h.jsonl"):
        (tmp_path / name).write_text(json.dumps(GOOD | ({"output": 5} if name == "bad.jsonl" else {})) + "\n")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("word", ["-xh", "-hx", "-x", "-dash.jsonl", "-1h.jsonl", "-é"])
def test_an_unknown_letter_is_never_a_call_for_help(
    command: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate that runs `prep validate data.jsonl -xh` must not pass because a page of help was printed."""
    assert run([command, "bad.jsonl", word]) == 2
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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["validate", "--vresion"], 'did you mean "prep --version"?'),
        (["validate", "bad.jsonl", "--quite"], 'there is no such key; did you mean "--quiet"?'),
        (["pack", "--quite"], 'did you mean "--quiet"?'), (["train", "--dry-rnu"], 'did you mean "--dry-run"?'),
        (["validate", "cutof_len=5"], 'did you mean "cutoff_len"?'),
        (["validate"], "name files, folders or globs to check"),
    ],
)  # fmt: skip
def test_a_mistyped_word_is_told_before_what_is_missing(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert says in capsys.readouterr().err


def test_a_file_whose_name_has_an_equals_sign(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It reads like a setting; the way to name it is told, and works. A key of ours stays a key."""
    (here / "a=b.jsonl").write_text(json.dumps(GOOD) + "\n")
    assert run(["validate", "a=b.jsonl"]) == 2
    assert "there is no key 'a'; to name the file: ./a=b.jsonl" in capsys.readouterr().err
    assert run(["validate", "./a=b.jsonl"]) == 0
    (here / "stage=sft").write_text("")
    assert run(["validate", "./a=b.jsonl", "stage=sft"]) == 0


@pytest.mark.parametrize("option", ["--error", "--warn", "--off"])
def test_a_wrong_rule_is_told_with_its_list(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "bad.jsonl", option, "text.speciel-token", option, "nosuch.rule"]) == 2
    said = capsys.readouterr().err
    assert 'did you mean "text.special-token"?' in said and "nosuch.rule" in said
    assert "hint: `prep list rules` shows every rule" in said
    assert run(["validate", "bad.jsonl", "rules.nosuch.rule=off"]) == 2
    assert "hint: `prep list rules` shows every rule" in capsys.readouterr().err
