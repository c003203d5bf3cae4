"""A saved adapter says what it is; a card that somebody wrote stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.train.job import ModelSpec, RunSpec, TrainJob, Tuning
from stages.train.model.card import card, fill_card

pytestmark = pytest.mark.train
Run = Callable[..., tuple[dict[str, Any], list[str]]]
JOB = TrainJob("sft", "d", ModelSpec("org/base"), RunSpec("o"), Tuning(lora_rank=4), arguments={"learning_rate": 1e-4})


def test_the_card_names_model_method_and_settings() -> None:
    text = card(JOB)
    assert "base_model: org/base" in text
    assert "LoRA of rank 4, alpha 8, on all" in text
    assert "learning_rate: 0.0001" in text


def test_a_folder_of_this_machine_is_no_name_of_the_hub(tmp_path: Path) -> None:
    job = TrainJob("dpo", "d", ModelSpec(str(tmp_path)), RunSpec("o"), Tuning())
    assert "base_model" not in card(job)
    assert str(tmp_path) not in card(job)


def test_only_the_empty_form_is_replaced(tmp_path: Path) -> None:
    fill_card(tmp_path, JOB)
    assert not (tmp_path / "README.md").exists()
    (tmp_path / "README.md").write_text("mine")
    fill_card(tmp_path, JOB)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_training_leaves_no_empty_form(make: Any, run_job: Run, tmp_path: Path) -> None:
    data = make.out(tmp_path / "d", "lm", {"train": make.lm(8)})
    keys = {"finetuning_type": "lora", "max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    run_job(data, tmp_path / "o", **keys)
    for folder in (tmp_path / "o", tmp_path / "o" / "checkpoint-1"):
        text = (folder / "README.md").read_text()
        assert "More Information Needed" not in text
        assert "LoRA of rank 8" in text
