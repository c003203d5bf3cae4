"""What is settled before there is a model: the right shards, the right splits, the rows of a step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry.errors import MachineFault, UsageFault
from stages.train.data import longest_example, read_manifest
from stages.train.job import TrainJob
from stages.train.setup import plan, positions, start
from tests.support.jobs import train_job

pytestmark = pytest.mark.train
pytest.importorskip("transformers")

Made = Callable[..., TrainJob]
Run = Callable[..., tuple[dict[str, Any], list[str]]]


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


@pytest.mark.parametrize(
    ("config", "scaled", "limit"),
    [
        ({"max_position_embeddings": 4096}, False, 4096),
        ({}, False, 0),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "linear", "factor": 2.0}}, True, 8192),
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {"factor": 8.0, "original_max_position_embeddings": 8192},
            },
            False,
            131072,
        ),
        (
            {
                "max_position_embeddings": 32768,
                "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768},
            },
            False,
            131072,
        ),
    ],
)
def test_positions_count_rope_scaling(config: dict[str, Any], scaled: bool, limit: int) -> None:
    assert positions(SimpleNamespace(**config), scaled=scaled) == limit


@pytest.mark.parametrize("kind", ["lm", "packed", "pref"])
def test_the_longest_example_is_what_a_model_sees_at_once(kind: str, make: Any, tmp_path: Path) -> None:
    lm, pref = make.lm(7), make.pref(7)
    rows = {"lm": lm, "packed": make.packed(lm), "pref": pref}[kind]
    made = make.out(tmp_path, "pref" if kind == "pref" else "lm", {"train": rows}, packed=kind == "packed")
    if kind == "pref":
        want = max(len(r["prompt_ids"]) + max(len(r["chosen_ids"]), len(r["rejected_ids"])) for r in pref)
    else:
        want = max(len(row["input_ids"]) for row in lm)
    assert longest_example(read_manifest(made), "train") == want


def test_examples_beyond_the_models_positions_are_named(
    make: Any, run_job: Run, tiny_model: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short"
    shutil.copytree(tiny_model, short)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8}))
    data = make.out(tmp_path / "d", "lm", {"train": make.lm(8)})
    _, said = run_job(data, tmp_path / "o", model_name_or_path=str(short), max_steps=1)
    assert any("positions for 8 as published" in text for text in said)
    _, said = run_job(data, tmp_path / "o2", max_steps=1)
    assert not any("positions for" in text for text in said)


def test_fewer_rows_than_one_batch_with_drop_last_are_refused(make: Any, run_job: Run, tmp_path: Path) -> None:
    data = make.out(tmp_path / "d", "lm", {"train": make.lm(3)})
    with pytest.raises(UsageFault, match="3 rows, fewer than one batch of 4"):
        run_job(data, tmp_path / "o", dataloader_drop_last=True)
