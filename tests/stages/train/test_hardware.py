"""What this machine cannot do is downgraded with a sentence, or refused with the line that fixes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import MachineFault
from stages.train import hardware as machine
from stages.train.hardware import Footprint, Machine
from stages.train.job import TrainJob
from tests.support.jobs import train_job

GPU, CPU, OLD = Machine("cuda", True), Machine("cpu", True), Machine("cuda", False)


def job(**keys: object) -> TrainJob:
    return train_job({"model_name_or_path": "m", "output_dir": "o", **keys}, Path("d"))


def test_half_precision_is_off_on_a_cpu_and_reported() -> None:
    notes: list[str] = []
    numbers = machine.precision(job(bf16=True), CPU, notes)
    assert (numbers.bf16, numbers.fp16, numbers.weights) == (False, False, "float32")
    assert notes == ["bf16 off: no GPU here, so this runs in float32"]
    assert machine.precision(job(), CPU, notes) == numbers
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("keys", "weights"),
    [
        ({"finetuning_type": "full"}, "float32"),
        ({"finetuning_type": "lora"}, "bfloat16"),
        ({"finetuning_type": "full", "deepspeed": "z3"}, "bfloat16"),
        ({"finetuning_type": "full", "pure_bf16": True}, "bfloat16"),
    ],
)
def test_trained_weights_stay_in_float32_unless_something_keeps_a_copy(keys: dict[str, object], weights: str) -> None:
    assert machine.precision(job(bf16=True, **keys), GPU, []).weights == weights


def test_a_gpu_without_bf16_says_what_to_use() -> None:
    with pytest.raises(MachineFault) as caught:
        machine.precision(job(bf16=True), OLD, [])
    assert "fp16: true" in caught.value.hint


def test_gpu_only_choices_become_notes_on_a_cpu() -> None:
    notes: list[str] = []
    assert machine.attention(job(flash_attn="fa2"), CPU, notes) == "sdpa"
    assert machine.liger(job(use_liger_kernel=True), CPU, notes) is False
    assert ["sdpa" in notes[0], "use_liger_kernel off" in notes[1]] == [True, True]
    assert machine.attention(job(flash_attn="disabled"), CPU, notes) == "eager"
    assert machine.attention(job(), CPU, notes) == ""
    assert len(notes) == 2


def test_a_missing_tracker_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_has", lambda module: False)
    with pytest.raises(MachineFault) as caught:
        machine.reporters({"report_to": "mlflow"})
    assert caught.value.hint == "pip install mlflow"
    assert machine.reporters({"report_to": ["none"]}) == []
    assert machine.reporters({}) == []


def test_a_full_disk_is_found_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = Footprint(10**9, 10**9, 4 * 10**9)
    usage = machine.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    with pytest.raises(MachineFault, match="one checkpoint needs"):
        machine.check_disk(tmp_path, size, job(finetuning_type="full"), [])
    notes: list[str] = []
    machine.check_disk(tmp_path, Footprint(10**9, 10**6, 2 * 10**9), job(), notes)
    assert notes == []
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=2 * 10**10))
    machine.check_disk(tmp_path, size, job(finetuning_type="full"), notes)
    assert "save_total_limit" in notes[0]
    machine.check_disk(tmp_path, size, job(finetuning_type="full", save_total_limit=1), notes)
    assert len(notes) == 1


def test_memory_is_counted_by_what_is_trained_and_how_it_is_split() -> None:
    full = Footprint(1000, 1000, 4000)
    assert full.state_bytes(half_precision=False, zero_stage=0, processes=1) == 4000 + 4000 + 8000
    assert full.state_bytes(half_precision=False, zero_stage=3, processes=4) == 4000
    assert full.state_bytes(half_precision=True, zero_stage=1, processes=2) == 4000 + 2000 + 6000
    lora = Footprint(1000, 10, 2000)
    assert lora.state_bytes(half_precision=True, zero_stage=0, processes=8) == 2000 + 20 + 120


def test_too_little_memory_is_a_note_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(machine, "free_memory", lambda *_: 10**9)
    machine.check_memory(5 * 10**8, GPU, 1, notes)
    assert notes == []
    machine.check_memory(5 * 10**9, GPU, 1, notes)
    assert "z3_offload" in notes[0]
