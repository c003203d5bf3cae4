"""The trainer of a run: the rows and the model that the job names, in the class of its method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault

pytestmark = pytest.mark.train
pytest.importorskip("trl")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


def test_each_validation_set_is_measured_by_name(run_job: Run, tmp_path: Path, make: Any) -> None:
    splits = {"train": make.lm(8), "validation_a": make.lm(3, 1), "validation_b": make.lm(3, 2)}
    out = make.out(tmp_path / "out", "lm", splits)
    metrics, _ = run_job(out, tmp_path / "o", do_eval=True, max_steps=1)
    assert metrics["eval_a_loss"] != metrics["eval_b_loss"]


def test_rows_grouped_by_length_hardly_need_padding(run_job: Run, tmp_path: Path, make: Any) -> None:
    """Two lengths in turn: ungrouped batches of them are half padding."""
    rows = [{"input_ids": [100] * size, "labels": [100] * size} for size in (4, 30) * 96]
    out = make.out(tmp_path / "out", "lm", {"train": rows})
    seen: list[set[int]] = []

    from stages.train.monitor import loss_spikes

    class Noting(loss_spikes.Watch):
        def add(self, step: int, rows: Any, *rest: Any) -> None:
            seen.append({number % 2 for number in rows.tolist()})
            super().add(step, rows, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.train.monitor.trainer_mixin.Watch", Noting)
        run_job(out, tmp_path / "o", train_sampling_strategy="group_by_length", max_steps=12)
    assert len(seen) == 12
    assert sum(len(lengths) > 1 for lengths in seen) <= 2


def test_what_the_trainers_arguments_refuse_is_a_usage_fault(run_job: Run, tmp_path: Path, make: Any) -> None:
    out = make.out(tmp_path / "out", "lm", {"train": make.lm(4)})
    with pytest.raises(UsageFault, match="no-such-schedule"):
        run_job(out, tmp_path / "o", lr_scheduler_type="no-such-schedule")
