"""`prep predict`: what would start is shown before anything is packed, and a mistake is an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.commands import predict
from pipeline.config import Config
from tests.support.packed_outputs import DEMO, TINY

CONFIG = str(DEMO / "sft.yaml")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, bool]]:
    """The configurations that were started with, and whether the measures were to be JSON; nothing runs."""
    seen: list[tuple[Config, bool]] = []

    def predict_with(config: Config, say: object, *, as_json: bool, quiet: bool = True) -> int:
        seen.append((config, as_json))
        return 5

    monkeypatch.setattr(predict, "predict_with", predict_with)
    return seen


def test_options_and_words_reach_the_run(started: list[tuple[Config, bool]], tmp_path: Path) -> None:
    """Options, settings of the file, and the exit code back."""
    words = ["predict", CONFIG, "max_new_tokens=4", "--split", "。;", "-o", str(tmp_path / "p"), "--workers", "2"]
    assert run([*words, "--json"]) == 5
    ((config, as_json),) = started
    assert as_json
    assert [config.get(key) for key in ("max_new_tokens", "split", "tokenized_path", "template")] == [
        4, "。;", str(tmp_path / "p"), "qwen3",
    ]  # fmt: skip
    assert config.flag("do_predict") and not config.flag("dry_run")


def test_notes_are_said_once_in_a_run_of_several_workers(
    started: list[tuple[Config, bool]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, count in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        run(["predict", CONFIG, "overwrite_cache=true"])
        assert capsys.readouterr().err.count("overwrite_cache") == count
    run(["predict", CONFIG, "overwrite_cache=true", "--quiet"])
    assert len(started) == 3


def test_a_dry_run_packs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("NPROC_PER_NODE", raising=False)
    assert run(["predict", CONFIG, f"output_dir={tmp_path / 'o'}", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["launcher"] is None
    assert not (tmp_path / "o").exists()


def test_what_cannot_start_is_exit_2_before_the_data_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"model_name_or_path={TINY}", "train_from_scratch=false", f"output_dir={tmp_path / 'o'}"]
    assert run(["predict", CONFIG, *words]) == 2
    assert "no weights" in capsys.readouterr().err
    assert run(["predict", CONFIG, "max_new_tokens=many"]) == 2
    assert not (tmp_path / "o").exists()
