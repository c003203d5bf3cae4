"""Nothing of an earlier run is touched before the first step, and it comes back when the new run has no checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import Fault
from stages.train.checkpoints import MARK, Mark, checkpoints, write_mark
from stages.train.monitor.earlier_run import EarlierRun

pytestmark = pytest.mark.train
Run = Callable[..., tuple[dict[str, Any], list[str]]]


def earlier(output: Path, *steps: int) -> EarlierRun:
    for step in steps:
        folder = output / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "weights").write_text(f"of step {step}")
        write_mark(folder, Mark(step=step, data="d", processes=1))
    (output / "trainer_log.jsonl").write_text("the earlier log\n")
    return EarlierRun(output)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_was_set_aside_comes_back_whole(tmp_path: Path) -> None:
    run = earlier(tmp_path, 4, 8)
    (tmp_path / "mine.txt").write_text("the user's own")
    before = digests(tmp_path)
    assert run.set_aside() == 2
    assert checkpoints(tmp_path) == []
    (tmp_path / "trainer_log.jsonl").write_text("of the new run\n")
    (tmp_path / "checkpoint-4").mkdir()  # cut short: no mark
    assert run.put_back() == 2
    assert digests(tmp_path) == before
    assert run.put_back() == 0


def test_a_new_checkpoint_ends_what_was_set_aside(tmp_path: Path) -> None:
    run = earlier(tmp_path, 4)
    run.set_aside()
    (tmp_path / "checkpoint-2").mkdir()
    write_mark(tmp_path / "checkpoint-2", Mark(step=2, data="d", processes=1))
    assert run.put_back() == 0
    run.forget()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2"]


def test_another_programs_checkpoints_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-4").mkdir()
    assert EarlierRun(tmp_path).set_aside() == 0
    assert (tmp_path / "checkpoint-4").is_dir()
    assert not (tmp_path / "checkpoint-4" / MARK).exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, make: Any, run_job: Run) -> tuple[Path, Path]:
    """Shards, and the output of a run with two checkpoints over them."""
    root = tmp_path_factory.mktemp("earlier")
    data = make.out(root / "data", "lm", {"train": make.lm(8), "validation": make.lm(4, 1)})
    run_job(data, root / "o", max_steps=4, save_strategy="steps", save_steps=2)
    return data, root / "o"


@pytest.mark.parametrize(
    "keys",
    [
        {"finetuning_type": "lora", "lora_target": "q_prj"},
        {"finetuning_type": "lora", "additional_target": "lm_hed"},
        {"finetuning_type": "lora", "adapter_name_or_path": "./nosuch"},
        {"finetuning_type": "freeze", "freeze_trainable_modules": "nosuch"},
        {"finetuning_type": "lora", "quantization_bit": 4},
        {"finetuning_type": "lora", "init_lora_weights": "loftq"},
        {"use_galore": True},
        {"optim": "paged_adamw_8bit"},
        {"optim": "adamw_torhc"},
        {"report_to": "foo"},
        {"report_to": "mlflow"},
        {"model_name_or_path": "./nosuch"},
        {"rope_scaling": "nosuch"},
        {"lr_scheduler_type": "warmup_stable_decay"},
        {"eval_strategy": "steps", "early_stopping_steps": 2},
        {"fsdp": "full_shard"},
        {"dataloader_drop_last": True, "per_device_train_batch_size": 64, "max_steps": -1},
        {"deepspeed": {"train_batch_size": 5, "train_micro_batch_size_per_gpu": 4}},
        {"resume_from_checkpoint": "./nosuch"},
    ],
    ids=lambda keys: " ".join(map(str, keys.items()))[:40],
)
def test_an_early_failure_leaves_the_earlier_run_byte_identical(
    keys: dict[str, object], finished: tuple[Path, Path], run_job: Run
) -> None:
    """With overwrite_output_dir, whatever stops the new run before its first checkpoint."""
    data, output = finished
    before = digests(output)
    with pytest.raises(Fault):
        run_job(data, output, overwrite_output_dir=True, **keys)
    assert digests(output) == before


def test_a_failure_in_the_first_step_puts_the_earlier_run_back(
    finished: tuple[Path, Path], run_job: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.train.monitor.trainer_mixin import Watched

    def no_memory(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")

    data, output = finished
    before = digests(output)
    monkeypatch.setattr(Watched, "training_step", no_memory)
    with pytest.raises(Fault, match="out of memory at step 1"):
        run_job(data, output, overwrite_output_dir=True)
    assert digests(output) == before
