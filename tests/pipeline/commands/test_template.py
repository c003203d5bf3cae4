"""`prep template`: what a template writes, and whether the model's own writes the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.cli import run
from registry.templates import load_template
from stages.render.slots_to_jinja import to_jinja


@pytest.fixture
def folder(tmp_path: Path, tiny: str) -> Path:
    """A tokenizer whose own template is what our chatml writes."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(tiny) / name, tmp_path / name)
    source = to_jinja(load_template("chatml"), template_date="2026-11-21").source
    (tmp_path / "chat_template.jinja").write_text(source, encoding="utf-8")
    return tmp_path


def test_show_prints_the_slots(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["template", "show", "qwen3"]) == 0
    out = capsys.readouterr().out
    assert '"<|im_start|>user\\n{{content}}<|im_end|>\\n<|im_start|>assistant\\n"' in out
    assert "stop words   <|im_end|>" in out


def test_show_as_json_is_the_whole_template(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["template", "show", "llama3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stop_words"] == ["<|eot_id|>", "<|eom_id|>"]


def test_an_unknown_name_is_exit_2_with_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["template", "show", "qwen33"]) == 2
    assert 'did you mean "qwen3"' in capsys.readouterr().err


def test_show_auto_needs_a_tokenizer_and_tells_what_was_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["template", "show", "auto"]) == 2
    assert "--tokenizer" in capsys.readouterr().err
    assert run(["template", "show", "auto", "--tokenizer", str(folder)]) == 0
    out = capsys.readouterr().out
    assert 'answers follow "' in out
    assert "<|im_end|>" in out
    assert run(["template", "show", "auto", "--tokenizer", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"]["default"]["inner"]["stop"] == "<|im_end|>"


def test_check_names_the_first_difference_and_exits_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["template", "check", "llama3", "--tokenizer", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "they differ" in out
    assert "ours    <s>" in out
    assert "theirs  <|im_start|>" in out


def test_check_exits_0_where_both_write_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["template", "check", "chatml", "--tokenizer", str(folder), "--json"])
    proof = json.loads(capsys.readouterr().out)
    differing = [case["case"] for case in proof["cases"] if case["verdict"] == "differs"]
    assert code == (1 if differing else 0)
    assert differing in ([], ["white-space"]), "slots are tokenized apart: blanks may join the header"


def test_check_auto_shows_what_would_be_trained(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["template", "check", "auto", "--tokenizer", str(folder)]) == 0
    assert "trained  Four.<|im_end|>" in capsys.readouterr().out
    assert run(["template", "check", "auto", "--tokenizer", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"][0]["trained"] == ["Four.<|im_end|>"]


def test_a_tokenizer_without_template_and_a_malformed_date_are_exit_2(
    tiny: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["template", "check", "qwen", "--tokenizer", tiny]) == 2
    assert "has no chat template" in capsys.readouterr().err
    assert run(["template", "check", "qwen", "--tokenizer", str(folder), "--template-date", "1.1.2020"]) == 2
    assert "--template-date" in capsys.readouterr().err
