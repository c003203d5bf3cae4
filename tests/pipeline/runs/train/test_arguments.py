"""What a job carries for its trainer: plain values, no secret, and no default of ours that the user did not set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.config import Config, load_config
from pipeline.runs.train.arguments import job_arguments
from pipeline.runs.train.settings import Settings
from stages.train.job import TrainJob
from tests.support.jobs import train_job

BASE = {"model_name_or_path": "m", "output_dir": "o", "template": "qwen3"}


def job(**keys: object) -> TrainJob:
    return train_job({**BASE, **keys}, Path("d"))


def settings(**keys: object) -> Settings:
    return Settings(load_config(None, {**BASE, "tokenized_path": "d", **keys}, for_command="train"))


@pytest.mark.parametrize("key", ["logging_steps", "logging_nan_inf_filter", "use_reentrant_gc", "disable_tqdm"])
def test_a_default_that_is_not_preps_own_is_not_the_users_wish(key: str) -> None:
    assert key not in job().arguments
    assert job(**{key: "1"}).arguments[key] in (True, 1.0)


def test_secrets_stay_out_of_a_job() -> None:
    assert "hub_token" not in job(hub_token="secret").arguments


def test_projected_gradients_are_transformers_optimizer() -> None:
    made = job(use_apollo=True, finetuning_type="full", apollo_target="q_proj,v_proj", apollo_layerwise=True).arguments
    assert made["optim"] == "apollo_adamw_layerwise"
    assert made["optim_target_modules"] == ["q_proj", "v_proj"]
    assert made["optim_args"] == (
        "rank=16, update_proj_gap=200, scale=32.0, proj_type=std, proj=random, scale_type=channel"
    )
    assert job(use_galore=True, finetuning_type="full").arguments["optim_target_modules"] == "all-linear"


def test_everything_can_be_kept_as_json() -> None:
    """What JSON cannot hold is no argument, also inside of lists and tables."""
    found = settings()
    odd = {"seed": {1: 2}, "optim": [object()]}
    values = {**found.config.values, "lr_scheduler_kwargs": {"a": [1, {"b": None}]}, **odd}
    arguments = job_arguments(Settings(Config(values, found.config.given)), [])
    assert json.loads(json.dumps(arguments)) == arguments
    assert arguments["lr_scheduler_kwargs"] == {"a": [1, {"b": None}]}
    assert not {"seed", "optim"} & arguments.keys()


@pytest.mark.parametrize("key", ["upcast_lmhead_output", "quantization_device_map"])
def test_a_key_without_effect_is_noted(key: str) -> None:
    for value, count in (("auto" if key.startswith("q") else "true", 1), (None, 0)):
        notes: list[str] = []
        job_arguments(settings(**({key: value} if value else {})), notes)
        assert [key in note for note in notes] == [True] * count


def test_galore_that_projects_no_module_is_a_problem() -> None:
    given = settings(use_galore="true", finetuning_type="full")
    values = {**given.config.values, "galore_target": []}
    empty = Settings(Config(values, given.config.given))
    job_arguments(empty, [])
    assert any(problem.startswith("galore_target: ") for problem in empty.problems)
