"""Every stage that can be trained has a method, and a reference model is kept only where the start weights are lost."""

from __future__ import annotations

from typing import Any

import pytest

from registry.kinds import dpo_losses
from stages.train.job import KINDS, ModelSpec, Preference, RunSpec, TrainJob, Tuning
from stages.train.methods import METHODS, Parts, builder


def job(stage: str = "sft", **fields: Any) -> TrainJob:
    return TrainJob(stage, "d", **{"model": ModelSpec("m"), "run": RunSpec("o"), **fields})


def test_every_stage_and_preference_loss_has_a_method() -> None:
    losses = ("sigmoid", "hinge", "ipo", *dpo_losses())
    reached = {job(stage, preference=Preference(loss=loss)).method for stage in KINDS for loss in losses}
    assert reached == set(METHODS)


@pytest.mark.train
@pytest.mark.parametrize("method", METHODS)
def test_the_builder_comes_from_the_method_s_own_module(method: str) -> None:
    pytest.importorskip("trl")
    assert builder(method).__module__ == f"stages.train.methods.{METHODS[method][0]}"


def test_a_stage_without_a_trainer_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        builder("ppo")


@pytest.mark.parametrize(
    ("kind", "reference", "needed"),
    [("full", None, True), ("freeze", None, True), ("lora", None, False), ("oft", None, False), ("lora", "r", True)],
)
def test_a_reference_is_needed_when_the_start_weights_are_lost(kind: str, reference: str | None, needed: bool) -> None:
    made = job("dpo", tuning=Tuning(kind), model=ModelSpec("m", reference=reference))
    assert Parts(made, None, None, {}, None).needs_reference is needed
