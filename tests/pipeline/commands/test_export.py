"""`prep export`: which job a configuration makes, and what is said of the result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.commands.export import export_job, exported
from pipeline.config import load_config
from stages.train.model import export as exporting
from stages.train.model.export import ExportJob


def job(*words: str) -> ExportJob:
    base = ["model_name_or_path=m", "export_dir=merged"]
    return export_job(load_config(None, [*base, *words], for_command="export"))


def test_the_keys_of_the_export_are_taken() -> None:
    made = job("template=qwen3", "adapter_name_or_path=a,b", "export_size=2", "export_hub_model_id=me/it")
    assert (made.model.path, made.model.adapters, made.folder) == ("m", ("a", "b"), "merged")
    assert (made.file_gb, made.hub_repository, made.reward) == (2, "me/it", False)


def test_the_chat_template_goes_with_the_model() -> None:
    """With its options; `template: auto` keeps the tokenizer's own."""
    chat = job("template=qwen3", "default_system=Be brief.").chat
    assert chat["template"] == {"name": "qwen3"}
    assert chat["options"]["default_system"] == "Be brief."
    assert job("template=auto").chat == {}


def test_a_reward_model_is_exported_as_one() -> None:
    """Whatever the stage, the model is read as prediction reads it."""
    assert job("template=qwen3", "stage=rm").reward


def test_what_was_written_is_told_by_size(tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(b"123")
    (tmp_path / "a.json").write_bytes(b"{}")
    (tmp_path / "folder").mkdir()
    told = exported(tmp_path, job("template=qwen3"))
    assert told["files"] == {"a.json": 2, "b.bin": 3}
    assert (told["adapters"], told["hub_model_id"]) == ([], None)


def test_json_is_alone_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an export says on its way goes to stderr, and with --quiet nowhere."""

    def export(made: ExportJob, say: exporting.Say) -> Path:
        say("merging")
        return tmp_path

    monkeypatch.setattr(exporting, "export", export)
    words = ["export", "model_name_or_path=m", "template=qwen3", f"export_dir={tmp_path}", "--json"]
    for quiet, said in ([], "merging\n"), (["--quiet"], ""):
        assert run([*words, *quiet]) == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out)["export_dir"] == str(tmp_path)
        assert captured.err.endswith(said) and bool(captured.err) >= bool(said)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").touch()
    assert run(["export", "model_name_or_path=m", "template=qwen3", f"export_dir={tmp_path}"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert run(["export", "model_name_or_path=m", "template=qwen3"]) == 2
