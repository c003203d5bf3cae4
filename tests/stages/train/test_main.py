"""One worker: the exit code says how it ended, and a restarted one goes on from its last checkpoint."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from stages.train.__main__ import main, restarted, say
from stages.train.checkpoints import Mark, checkpoints, read_mark, write_mark
from stages.train.job import ModelSpec, RunSpec, TrainJob, to_json
from tests.support.jobs import train_job
from tests.support.training import log_entries

pytestmark = pytest.mark.train


def test_a_restarted_worker_goes_on_from_its_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = TrainJob("sft", "d", ModelSpec("m"), RunSpec(str(tmp_path), overwrite=True))
    assert restarted(fresh) == fresh
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert restarted(fresh).run.resume is None, "it had not come to its first checkpoint"
    folder = tmp_path / "checkpoint-5"
    folder.mkdir()
    write_mark(folder, Mark(step=5, data="d1", processes=2))
    assert restarted(fresh).run.resume == "last"


@pytest.mark.parametrize("argv", [[], ["a.json", "b.json"], ["--local_rank=0"]])
def test_a_worker_without_its_job_ends_with_a_usage_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "usage: python -m stages.train" in capsys.readouterr().err


def test_lines_of_all_processes_but_the_first_carry_its_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say("one")
    monkeypatch.setenv("RANK", "3")
    say("two")
    assert capsys.readouterr().err == "one\n[process 3] two\n"


def test_sigterm_saves_and_leaves_with_143(
    make: Any, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal comes amid the second step; that step is finished and saved, and the handler restored."""
    pytest.importorskip("trl")
    from stages.train.monitor.trainer_mixin import Watched

    output = tmp_path / "o"
    output.mkdir()
    data = make.out(tmp_path / "data", "lm", {"train": make.lm(12)})
    values: dict[str, object] = {
        "model_name_or_path": str(tiny_model), "output_dir": str(output), "finetuning_type": "full", "max_steps": 4000,
        "logging_steps": 1, "save_strategy": "no", "use_cpu": True,
    }  # fmt: skip
    path = output / "prep_job.json"
    path.write_text(to_json(train_job(values, data)))
    before = signal.getsignal(signal.SIGTERM)
    step = Watched.training_step

    def signalled(self: Any, *rest: Any, **keywords: Any) -> Any:
        if self.state.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *rest, **keywords)

    monkeypatch.setattr(Watched, "training_step", signalled)
    assert main([str(path), "--local_rank=0"]) == 143
    assert "Traceback" not in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    (last,) = checkpoints(output)
    mark = read_mark(last)
    assert mark is not None
    assert mark.step == log_entries(output)[-1]["current_steps"] == 2
    assert (last / "optimizer.pt").exists()
