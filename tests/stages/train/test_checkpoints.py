"""A run goes on exactly where it stopped, or says why it cannot."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.train.checkpoints import MARK, Mark, checkpoints, read_mark, starting_point, write_mark
from stages.train.job import ModelSpec, RunSpec, TrainJob
from tests.support.training import log_entries, write_manifest

pytestmark = pytest.mark.train
Run = Callable[..., tuple[dict[str, Any], list[str]]]

NOW = Mark(step=0, data="d1", processes=2, rows_a_step=8)


def checkpoint(output: Path, step: int, mark: Mark | None = NOW, files: tuple[str, ...] = ("optimizer.pt",)) -> Path:
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).touch()
    if mark is not None:
        write_mark(folder, mark)
    return folder


def job(output: Path, **run: Any) -> TrainJob:
    return TrainJob("sft", "d", ModelSpec("m"), RunSpec(output_dir=str(output), **run))


def test_a_checkpoint_cut_short_is_not_one(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5)
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 15, mark=None)
    (checkpoint(tmp_path, 20) / MARK).write_text('{"step": 20')
    assert [folder.name for folder in checkpoints(tmp_path)] == ["checkpoint-5", "checkpoint-10"]
    assert starting_point(job(tmp_path, resume="last"), NOW, None, []) == tmp_path / "checkpoint-10"


def test_an_output_with_checkpoints_is_resumed_as_in_llama_factory(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    notes: list[str] = []
    assert starting_point(job(tmp_path), NOW, None, notes) == tmp_path / "checkpoint-10"
    assert "overwrite_output_dir" in notes[0]
    assert starting_point(job(tmp_path, overwrite=True), NOW, None, []) is None


def test_a_finished_model_is_overwritten_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UsageFault, match="finished model"):
        starting_point(job(tmp_path), NOW, None, [])
    assert starting_point(job(tmp_path, overwrite=True), NOW, None, []) is None


ZERO2 = {"zero_stage": 2, "round_robin": True}


@pytest.mark.parametrize(
    ("made", "now", "files", "deepspeed", "word"),
    [
        ({"data": "d2"}, {}, ("optimizer.pt",), None, "data has changed"),
        ({}, {}, ("model.safetensors",), None, "save_only_model"),
        (ZERO2, {"zero_stage": 2, "processes": 1}, ("latest",), None, "cannot go on with 1"),
        (ZERO2, ZERO2, ("latest",), {"checkpoint": {"load_universal": True}}, "round_robin_gradients"),
        ({"zero_stage": 3}, {}, ("latest",), None, "ZeRO stage 3"),
    ],
)
def test_what_cannot_go_on_exactly_is_refused(
    made: dict[str, Any], now: dict[str, Any], files: tuple[str, ...], deepspeed: Any, word: str, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path, 3, Mark(**{**NOW.__dict__, **made}), files)
    with pytest.raises(UsageFault, match=word):
        starting_point(job(tmp_path, resume=str(folder)), Mark(**{**NOW.__dict__, **now}), deepspeed, [])


def test_a_checkpoint_of_another_program_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 3, mark=None)
    with pytest.raises(UsageFault, match="another program"):
        starting_point(job(tmp_path, resume=str(folder)), NOW, None, [])
    with pytest.raises(UsageFault, match="no such folder"):
        starting_point(job(tmp_path, resume=str(tmp_path / "gone")), NOW, None, [])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    rows = {"train": make.packed(make.lm(60)), "validation": make.packed(make.lm(9, 1))}
    return make.out(tmp_path_factory.mktemp("data"), "lm", rows, packed=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_resuming_repeats_the_run_to_the_bit(tuning: str, data: Path, run_job: Run, tmp_path: Path) -> None:
    keys = {"finetuning_type": tuning, "max_steps": 8, "save_strategy": "steps", "save_steps": 4, "lora_dropout": 0.1}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_job(data, whole, **keys)
    cut.mkdir()
    shutil.copytree(whole / "checkpoint-4", cut / "checkpoint-4")
    shutil.copy(whole / "trainer_log.jsonl", cut)
    metrics, _ = run_job(data, cut, resume_from_checkpoint=True, **keys)
    assert [entry["loss"] for entry in log_entries(cut)] == [entry["loss"] for entry in log_entries(whole)]
    name = "model.safetensors" if tuning == "full" else "adapter_model.safetensors"
    assert (cut / name).read_bytes() == (whole / name).read_bytes()
    assert metrics["tokens_seen"] == json.loads((whole / "train_results.json").read_text())["tokens_seen"]


def test_changed_data_is_not_resumed(data: Path, run_job: Run, tmp_path: Path) -> None:
    run_job(data, tmp_path / "o", max_steps=2, save_strategy="steps", save_steps=2)
    other = tmp_path / "other"
    shutil.copytree(data, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["options"]["mask_history"] = True
    write_manifest(other, manifest)
    with pytest.raises(UsageFault, match="data has changed"):
        run_job(other, tmp_path / "o", max_steps=4)


def test_a_model_only_checkpoint_is_not_resumed(data: Path, run_job: Run, tmp_path: Path) -> None:
    run_job(data, tmp_path, max_steps=2, save_strategy="steps", save_steps=2, save_only_model=True)
    with pytest.raises(UsageFault, match="save_only_model"):
        run_job(data, tmp_path, max_steps=4, resume_from_checkpoint=True)


def test_overwriting_clears_the_checkpoints_of_the_run_before(data: Path, run_job: Run, tmp_path: Path) -> None:
    run_job(data, tmp_path, max_steps=4, save_strategy="steps", save_steps=2)
    _, said = run_job(data, tmp_path, max_steps=2, save_strategy="steps", save_steps=2, overwrite_output_dir=True)
    assert [folder.name for folder in checkpoints(tmp_path)] == ["checkpoint-2"]
    assert len(log_entries(tmp_path)) == 2
    assert any("removed at this run's first checkpoint" in text for text in said)


def test_only_the_newest_checkpoints_are_kept_and_the_best_is_loaded(data: Path, run_job: Run, tmp_path: Path) -> None:
    metrics, _ = run_job(
        data, tmp_path, max_steps=6, save_strategy="steps", save_steps=1, save_total_limit=2, eval_strategy="steps",
        eval_steps=1, load_best_model_at_end=True, metric_for_best_model="eval_loss", learning_rate=0.05,
    )  # fmt: skip
    assert len(checkpoints(tmp_path)) <= 2
    best = min(entry["eval_loss"] for entry in log_entries(tmp_path) if "eval_loss" in entry)
    assert metrics["eval_loss"] == pytest.approx(best, rel=1e-5)


def test_a_changed_rate_or_schedule_is_said(tmp_path: Path) -> None:
    was = Mark(**{**NOW.__dict__, "step": 4, "optimizer": {"learning_rate": 1e-3}, "schedule": {"max_steps": 12}})
    checkpoint(tmp_path, 4, was)
    now = Mark(**{**NOW.__dict__, "optimizer": {"learning_rate": 1e-5}, "schedule": {"max_steps": 24}})
    notes: list[str] = []
    starting_point(job(tmp_path, resume="last"), now, None, notes)
    assert notes[0].startswith("learning_rate is 1e-05 here and 0.001 in the checkpoint: the checkpoint's goes on")
    assert notes[1].startswith("max_steps is 24 here and 12 in the checkpoint")
    same: list[str] = []
    starting_point(job(tmp_path, resume="last"), was, None, same)
    assert same == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_process_saves_a_complete_checkpoint_before_it_stops(
    number: signal.Signals, code: int, run_job: Run, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.train.monitor.loss_spikes import Watch
    from stages.train.run import Stopped

    add = Watch.add

    def interrupted(self: Any, step: int, *rest: Any) -> None:
        add(self, step, *rest)
        if step == 2:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    monkeypatch.setattr(Watch, "add", interrupted)
    out = make.out(tmp_path / "out", "lm", {"train": make.lm(20)})
    with pytest.raises(Stopped, match=f"stopped by {number.name} at step 2") as caught:
        run_job(out, tmp_path / "run", max_steps=5)
    assert caught.value.exit_code == code
    (last,) = checkpoints(tmp_path / "run")
    assert (last / "optimizer.pt").exists()
    assert signal.getsignal(number) is before


def test_tokens_are_counted_to_the_last_step_whatever_is_logged(run_job: Run, make: Any, tmp_path: Path) -> None:
    rows = make.lm(20)
    out = make.out(tmp_path / "out", "lm", {"train": rows})
    keys = {"max_steps": 5, "logging_steps": 3, "save_strategy": "steps", "save_steps": 2}
    metrics, _ = run_job(out, tmp_path / "run", **keys)
    assert metrics["tokens_seen"] == sum(len(row["input_ids"]) for row in rows)
    marks = [read_mark(tmp_path / "run" / f"checkpoint-{step}") for step in (2, 4)]
    assert 0 < marks[0].tokens_seen < marks[1].tokens_seen < metrics["tokens_seen"]  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "run" / "checkpoint-5", ignore_errors=True)
    (tmp_path / "run" / "prep_train.json").unlink()
    again, _ = run_job(out, tmp_path / "run", **keys)
    assert again["tokens_seen"] == metrics["tokens_seen"]
