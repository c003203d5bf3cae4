"""Training jobs from a few settings, read as `prep train` and `prep predict` read a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.config import load_config
from pipeline.runs.train.job_from_config import job_from_config, predict_job_from_config
from stages.train.job import TrainJob


def train_job(values: Mapping[str, object], data: Path) -> TrainJob:
    """The job of `prep train` for shards that are there."""
    return job_from_config(load_config(None, {"tokenized_path": str(data), **values}, for_command="train"), data)


def predict_job(values: Mapping[str, object], data: Path) -> TrainJob:
    """The job of `prep predict` for prompts that are there."""
    return predict_job_from_config(load_config(None, {"dataset": "records", **values}, for_command="predict"), data)
