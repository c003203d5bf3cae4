"""What every trainer does beside its method: rows are counted and named, and nobody outside hears of it."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


class Base:
    """The parts of a trainer that the mixin calls."""

    def __init__(self, process_count: int = 1) -> None:
        self.args = types.SimpleNamespace(device="cpu")
        self.accelerator = types.SimpleNamespace(reduce=lambda values, how: values * process_count)
        self.state = types.SimpleNamespace(global_step=0)
        self.data_collator: Callable[..., dict[str, Any]] = lambda rows: {
            "input_ids": torch.tensor([row["input_ids"] for row in rows])
        }
        self.logged: list[dict[str, float]] = []
        self.batches: list[set[str]] = []

    def training_step(self, model: Any, inputs: dict[str, Any]) -> Any:
        self.batches.append(set(inputs))
        return torch.tensor(float(model))

    def prediction_step(self, model: Any, inputs: dict[str, Any]) -> Any:
        self.batches.append(set(inputs))

    def log(self, logs: dict[str, float]) -> None:
        self.logged.append(logs)


def trainer(said: list[str] | None = None, processes: int = 1) -> Any:
    from stages.train.job import ModelSpec, RunSpec, TrainJob
    from stages.train.monitor.trainer_mixin import Watched, watch_rows

    class Trainer(Watched, Base):
        pass

    job = TrainJob("sft", "d", ModelSpec("m"), RunSpec("o"))
    return watch_rows(Trainer(processes), job, (said if said is not None else []).append)


def batch(of: Any, *rows: int) -> dict[str, Any]:
    made: dict[str, Any] = of.data_collator([{"input_ids": [1, 2, 3], "row": row} for row in rows])
    return made


def test_row_numbers_travel_beside_the_batch_and_never_reach_the_model() -> None:
    made = trainer()
    assert batch(made, 7, 9)["rows"].tolist() == [7, 9]
    made.training_step(1.0, batch(made, 7, 9))
    made.prediction_step(1.0, batch(made, 7))
    made.prediction_step(1.0, {"input_ids": torch.ones(1)})
    assert made.batches == [{"input_ids"}] * 3


def test_a_row_without_its_number_is_an_error() -> None:
    with pytest.raises(KeyError, match="row"):
        trainer().data_collator([{"input_ids": [1]}])


def test_counts_are_summed_over_processes_and_logged_with_the_loss_alone() -> None:
    made = trainer(processes=2)
    made.training_step(1.0, batch(made, 0, 1))
    made.log({"eval_loss": 1.0})
    assert "tokens_seen" not in made.logged[0]
    made.log({"loss": 1.0})
    made.training_step(1.0, batch(made, 2))
    made.log({"loss": 1.0})
    assert [entry["tokens_seen"] for entry in made.logged[1:]] == [12, 18]
    assert made.logged[1]["fill_rate"] == 1.0
    assert made.logged[1]["tokens_per_second"] > 0


def test_a_jump_is_reported_with_its_rows() -> None:
    said: list[str] = []
    made = trainer(said)
    for step, loss in enumerate([2.0] * 10 + [50.0]):
        made.state.global_step = step
        made.training_step(loss, batch(made, step, 100 + step))
    made.log({"loss": 2.0})
    assert len(said) == 1
    assert said[0].startswith("step 11: loss 50")
    assert "rows 10, 110" in said[0]


def test_loraplus_gives_b_the_higher_rate(make: Any, run_job: Run, tmp_path: Path) -> None:
    from stages.train.monitor import trainer_mixin as watched

    seen: list[Any] = []
    create = watched.Watched.create_optimizer

    def note(self: Any, *rest: Any) -> Any:
        seen.append(create(self, *rest))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watched.Watched, "create_optimizer", note)
        data = make.out(tmp_path / "out", "lm", {"train": make.lm(4)})
        run_job(data, tmp_path / "o", finetuning_type="lora", loraplus_lr_ratio=16.0, learning_rate=1e-3, max_steps=1)
    rates = {round(group["initial_lr"], 6) for group in seen[0].param_groups if group["params"]}
    assert {0.001, 0.016} <= rates
