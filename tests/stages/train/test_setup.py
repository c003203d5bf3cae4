"""What is settled before there is a model: the right shards, the right splits, the rows of a step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import MachineFault, UsageFault
from stages.train.job import TrainJob
from stages.train.setup import plan, start
from tests.support.jobs import train_job

pytestmark = pytest.mark.train
pytest.importorskip("transformers")

Made = Callable[..., TrainJob]


@pytest.fixture
def made(make: Any, tmp_path: Path) -> Made:
    """A job over packed rows with these splits."""

    def job(splits: tuple[str, ...] = ("train", "validation"), *, packed: bool = False, **keys: object) -> TrainJob:
        rows = make.packed(make.lm(12)) if packed else make.lm(4)
        out = make.out(tmp_path / "out", "lm", dict.fromkeys(splits, rows), packed=packed)
        values = {"model_name_or_path": "m", "output_dir": str(tmp_path / "o"), "use_cpu": True, **keys}
        return train_job({"do_train": True, **values}, out)

    return job


@pytest.mark.parametrize(
    ("keys", "splits"),
    [
        ({}, ["train"]),
        ({"do_eval": True}, ["train", "validation_a", "validation_b"]),
        ({"do_eval": True, "do_train": False}, ["validation_a", "validation_b"]),
        ({"eval_strategy": "epoch"}, ["train", "validation_a", "validation_b"]),
    ],
)
def test_only_the_splits_that_are_read_are_verified(keys: dict[str, object], splits: list[str], made: Made) -> None:
    said: list[str] = []
    assert start(made(("validation_a", "train", "validation_b"), **keys), said.append).splits == splits
    assert f"{len(splits)} split(s)" in said[0]


def test_shards_of_another_stage_are_refused(made: Made) -> None:
    with pytest.raises(UsageFault, match="trains from pref shards") as caught:
        start(made(stage="dpo"), print)
    assert "pack the data again" in caught.value.hint


def test_an_empty_train_split_is_refused_unless_nothing_is_trained(made: Made) -> None:
    with pytest.raises(UsageFault, match="nothing to train on"):
        start(made(("validation",)), print)
    assert start(made(("validation",), do_train=False, do_eval=True), lambda _: None).splits == ["validation"]


def test_evaluation_without_a_validation_split_is_refused(made: Made) -> None:
    with pytest.raises(UsageFault, match="no validation split"):
        start(made(("train",), eval_strategy="steps"), print)


def test_packed_rows_without_flash_attention_go_one_at_a_time(made: Made) -> None:
    setup = start(made(packed=True, per_device_train_batch_size=4, gradient_accumulation_steps=2), lambda _: None)
    planned = plan(setup)
    assert planned.fields["per_device_train_batch_size"] == 1
    assert planned.fields["gradient_accumulation_steps"] == 8
    assert planned.mark.rows_a_step == 8
    assert any("go one at a time: 8 accumulate" in note for note in setup.notes)


def test_plain_rows_keep_their_batch(made: Made) -> None:
    setup = start(made(per_device_train_batch_size=4, gradient_accumulation_steps=2), lambda _: None)
    planned = plan(setup)
    assert planned.fields["per_device_train_batch_size"] == 4
    assert planned.mark.rows_a_step == 8
    assert setup.notes == []


def test_an_output_folder_that_is_a_file_is_the_machines_fault(made: Made, tmp_path: Path) -> None:
    setup = start(made(), lambda _: None)
    (tmp_path / "o").write_text("")
    with pytest.raises(MachineFault, match="output_dir"):
        plan(setup)
