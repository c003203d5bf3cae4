"""A job survives the file that carries it to the workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import UsageFault
from stages.train.job import from_json, to_json
from tests.support.jobs import train_job

BASE: dict[str, object] = {"model_name_or_path": "m", "output_dir": "o"}


def test_a_job_survives_its_file() -> None:
    made = train_job(
        {
            **BASE, "stage": "dpo", "adapter_name_or_path": "a,b", "lora_target": ["q_proj", "v_proj"],
            "deepspeed": {"zero": 1}, "warmup_ratio": 0.1,
        },
        Path("prepared"),
    )  # fmt: skip
    assert from_json(to_json(made)) == made


def test_a_job_of_another_version_is_refused() -> None:
    text = to_json(train_job(BASE, Path("prepared")))
    with pytest.raises(UsageFault, match="another version"):
        from_json(text.replace('"version": 1', '"version": 99'))
