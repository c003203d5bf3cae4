"""A run ends with the figures of all its steps, and one that is finished stays as it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.train
pytest.importorskip("trl")
Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    rows = {"train": make.lm(12), "validation": make.lm(4, 1)}
    found: Path = make.out(tmp_path_factory.mktemp("lm"), "lm", rows)
    return found


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tokens(data: Path) -> int:
    manifest = json.loads((data / "manifest.json").read_text())
    return int(manifest["splits"]["train"]["tokens"])


def test_a_finished_run_started_again_changes_nothing(data: Path, run_job: Run, tmp_path: Path) -> None:
    keys = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    first, _ = run_job(data, tmp_path, **keys)
    before = digests(tmp_path)
    again, said = run_job(data, tmp_path, **keys)
    assert digests(tmp_path) == before
    assert again["train_loss"] == first["train_loss"] > 0
    assert any("ended after 4 steps and nothing is changed" in text for text in said)


def test_a_longer_run_goes_on_from_a_finished_one(data: Path, run_job: Run, tmp_path: Path) -> None:
    run_job(data, tmp_path, max_steps=2, save_strategy="steps", save_steps=2)
    _, said = run_job(data, tmp_path, max_steps=4, save_strategy="steps", save_steps=2)
    assert any("done: 4 steps" in text for text in said)


@pytest.mark.parametrize("logging_steps", [1, 2, 100])
def test_tokens_are_counted_to_the_last_step(data: Path, run_job: Run, tmp_path: Path, logging_steps: int) -> None:
    result, _ = run_job(data, tmp_path, max_steps=-1, num_train_epochs=1, logging_steps=logging_steps)
    assert result["tokens_seen"] == tokens(data)


def test_tokens_are_the_same_after_a_resume(data: Path, run_job: Run, tmp_path: Path) -> None:
    keys = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 2, "logging_steps": 3}
    run_job(data, tmp_path, max_steps=2, **keys)
    result, _ = run_job(data, tmp_path, max_steps=6, **keys)
    assert result["tokens_seen"] == 2 * tokens(data)


def test_perplexity_belongs_to_the_language_loss_alone(
    data: Path, make: Any, run_job: Run, tmp_path: Path
) -> None:
    keys = {"max_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    result, said = run_job(data, tmp_path / "sft", **keys)
    assert result["perplexity"] > 1
    assert any("  perplexity " in text for text in said)
    pairs = make.out(tmp_path / "pairs", "pref", {"train": make.pref(4), "validation": make.pref(4, 1)})
    result, said = run_job(pairs, tmp_path / "orpo", stage="dpo", pref_loss="orpo", **keys)
    assert "perplexity" not in result
    assert not any("  perplexity " in text for text in said)


def test_a_run_killed_before_its_last_save_takes_no_step_more(data: Path, run_job: Run, tmp_path: Path) -> None:
    """With the last checkpoint complete and no result, the next start saves that checkpoint's weights."""
    keys = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2}
    run_job(data, tmp_path, **keys)
    weights = (tmp_path / "model.safetensors").read_bytes()
    for name in ("model.safetensors", "prep_train.json", "all_results.json"):
        (tmp_path / name).unlink()
    result, said = run_job(data, tmp_path, **keys)
    assert (tmp_path / "model.safetensors").read_bytes() == weights
    assert any("done: 2 steps" in text for text in said)
    assert result["train_loss"] > 0
