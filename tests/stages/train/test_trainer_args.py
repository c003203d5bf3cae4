"""The trainer's own arguments: what the user set, else what prep chose, else what the library says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.train.hardware import Machine, Precision
from stages.train.trainer_args import trainer_arguments
from tests.support.jobs import train_job

pytestmark = pytest.mark.train
pytest.importorskip("transformers")


def fields(**keys: object) -> dict[str, Any]:
    job = train_job({"model_name_or_path": "m", "output_dir": "o", **keys}, Path("d"))
    return trainer_arguments(job, Machine("cpu", True), Precision(False, False, "float32"), None, [])


@pytest.mark.parametrize(
    ("keys", "on"),
    [
        ({}, True),
        ({"disable_gradient_checkpointing": True}, False),
        ({"gradient_checkpointing": False}, False),
        ({"activation_checkpointing": False}, False),
        ({"activation_checkpointing": True, "disable_gradient_checkpointing": True}, True),
        ({"activation_checkpointing": True, "gradient_checkpointing": False}, False),
    ],
)
def test_checkpointing_is_on_unless_it_is_disabled_under_either_name(keys: dict[str, object], on: bool) -> None:
    assert fields(**keys)["gradient_checkpointing"] is on


def test_preps_choice_gives_way_to_the_users() -> None:
    assert fields()["logging_steps"] == 10
    assert fields()["logging_nan_inf_filter"] is False
    assert fields(logging_steps=3, logging_nan_inf_filter=True)["logging_steps"] == 3
    assert fields(logging_nan_inf_filter=True)["logging_nan_inf_filter"] is True


def test_a_reentrant_graph_is_only_made_on_request() -> None:
    assert fields()["gradient_checkpointing_kwargs"] == {"use_reentrant": False}
    assert fields(use_reentrant_gc=True)["gradient_checkpointing_kwargs"] == {"use_reentrant": True}
