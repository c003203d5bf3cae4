"""Starting a run: what a dry run tells, what waits, and what no run may leave in a file."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipeline.config import Config, load_config
from pipeline.installation import missing_package
from pipeline.runs.pack import run as packing
from pipeline.runs.train import launch
from registry.errors import BusyFault, MachineFault
from stages.train.job import TrainJob
from stages.train.launch import supervisor
from stages.train.launch.torchrun import Launch
from tests.support.jobs import train_job

TORCHRUN = Launch(("python", "-m", "torch.distributed.run"), {"A": "1"}, "2 workers")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher, no accelerator, and what a run sets is undone."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "RANK", "WORLD_SIZE", "NNODES", "NPROC"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HF_TOKEN", "from the environment")


def config(folder: Path, **keys: object) -> Config:
    base = {"model_name_or_path": "m", "output_dir": str(folder / "o"), "tokenized_path": "d", "template": "qwen3"}
    return load_config(None, {**base, **keys}, for_command="train")


def job(folder: Path) -> TrainJob:
    return train_job({"model_name_or_path": "m", "output_dir": str(folder / "o"), "template": "qwen3"}, Path("d"))


def never() -> NoReturn:
    raise AssertionError("the data was prepared")


def test_a_dry_run_tells_and_prepares_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a person a line, as JSON a document; no folder is made."""
    given = config(tmp_path, dry_run=True)
    for as_json in (False, True):
        assert launch.launch_job(job(tmp_path), given, print, never, as_json=as_json) == 0
    line, document = capsys.readouterr().out.splitlines()
    assert "in this process" in line
    assert json.loads(document)["dry_run"] is True
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", ["torch", "transformers", "accelerate", "trl", "peft"])
def test_a_missing_training_library_is_named_before_the_data_is_packed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == name else real(wanted))
    with pytest.raises(ModuleNotFoundError) as caught:
        launch.launch_job(job(tmp_path), config(tmp_path), print, never)
    fault = missing_package(caught.value)
    assert fault is not None and name in fault.problems[0] and "pip install" in fault.hint
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("plan", [None, Launch((), {"RANK": "0"}, "a task of Slurm"), TORCHRUN])
def test_the_plan_names_a_launcher_only_where_one_starts(plan: Launch | None) -> None:
    told = launch.dry_run(plan, "o")
    started = plan is TORCHRUN
    assert (told["launcher"], told["argv"]) == (("torchrun", list(TORCHRUN.argv)) if started else (None, []))
    assert told["command"] == (TORCHRUN.command() if started else None)
    assert told["why"]


def test_workers_find_the_job_in_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written whole, and the exit code is that of the workers."""
    from stages.train.launch import torchrun

    seen: list[Any] = []

    def run_launch(plan: Launch, say: launch.Say) -> int:
        seen.extend(json.loads(path.read_text()) for path in (tmp_path / "o").iterdir())
        return 7

    monkeypatch.setattr(supervisor, "run_launch", run_launch)
    monkeypatch.setattr(torchrun, "plan_launch", lambda draft, environ: TORCHRUN)
    lines: list[str] = []
    given = config(tmp_path, hf_hub_token="s3cret")
    assert launch.launch_job(job(tmp_path), given, lines.append, lambda: job(tmp_path)) == 7
    assert len(seen) == 1 and seen[0]["run"]["output_dir"] == str(tmp_path / "o")
    assert lines == ["2 workers", f"  {TORCHRUN.command()}"]
    assert "s3cret" not in json.dumps([seen, lines])


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages.train.launch import torchrun

    (tmp_path / "o").write_text("a file")
    monkeypatch.setattr(torchrun, "plan_launch", lambda draft, environ: TORCHRUN)
    with pytest.raises(MachineFault, match="output_dir"):
        launch.launch_job(job(tmp_path), config(tmp_path), print, lambda: job(tmp_path))


@pytest.mark.parametrize("nodes", ["1", "2"])
def test_one_node_packs_and_the_others_wait(nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one node alone, another run that packs is an error; with several it is waited for, and said once."""
    tries = []

    def busy(config: Config, log: launch.Say, *, quiet: bool) -> Path:
        tries.append(1)
        if len(tries) < 4:
            raise BusyFault("another run")
        return tmp_path

    monkeypatch.setattr(packing, "ensure_prepared", busy)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("NNODES", nodes)
    lines: list[str] = []
    if nodes == "1":
        with pytest.raises(BusyFault):
            launch.shards(config(tmp_path), lines.append)
    else:
        assert launch.shards(config(tmp_path), lines.append) == tmp_path
    assert lines == ["another node packs the data; waiting"] * (nodes == "2")


@pytest.mark.parametrize(("tuning", "key"), [("lora", "adapter_name_or_path"), ("full", "model_name_or_path")])
def test_prediction_after_training_takes_what_was_trained(
    tuning: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompts go to a folder of their own beside the training data."""
    seen: list[Config] = []

    def predict_job(given: Config, data: Path) -> TrainJob:
        seen.append(given)
        return job(tmp_path)

    monkeypatch.setattr(launch, "predict_job_from_config", predict_job)
    monkeypatch.setattr("stages.train.model.load.check_start", lambda made: None)
    launch.predict_with(config(tmp_path, finetuning_type=tuning, dry_run=True), print, trained=True)
    assert seen[0].get(key) in (str(tmp_path / "o"), [str(tmp_path / "o")])
    assert seen[0].get("tokenized_path") == str(tmp_path / "o" / "prompts")
    assert seen[0].flag("do_predict") and not seen[0].flag("do_train")
