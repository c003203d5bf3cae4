"""Starting a training or prediction run: the job file, the workers, and what is said of them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.config import Config
from registry.errors import BusyFault, MachineFault
from stages.core.findings import as_json as json_text

from .job_from_config import job_from_config, predict_job_from_config

if TYPE_CHECKING:
    from stages.train.job import TrainJob
    from stages.train.launch.torchrun import Launch


Say = Callable[[str], None]


def train_with(config: Config, say: Say, *, as_json: bool = False) -> int:
    """Prepare the data, launch the run and see it to its end; returns the exit code. as_json: a dry run is told as
    JSON. Raises a Fault."""
    from stages.train.model.load import check_start

    # what can be wrong with the job is found before hours of packing
    draft = job_from_config(config, Path())
    check_start(draft)

    def ready() -> TrainJob:
        return job_from_config(config, shards(config, say))

    return launch_job(draft, config, say, ready, as_json=as_json)


def predict_with(config: Config, say: Say, *, trained: bool = False, as_json: bool = False) -> int:
    """Prepare the prompts, generate, measure; returns the exit code. `trained`: with the model that this run has just
    trained. Raises a Fault."""
    from stages.train.model.load import check_start

    config = _for_prediction(config, trained=trained)
    draft = predict_job_from_config(config, Path())
    check_start(draft)

    def ready() -> TrainJob:
        return predict_job_from_config(config, shards(config, say))

    code = launch_job(draft, config, say, ready, as_json=as_json)
    if config.flag("dry_run"):
        return code
    results = Path(str(config.get("output_dir"))) / "predict_results.json"
    if code == 0 and as_json and results.exists():
        click.echo(json.dumps(json.loads(results.read_text("utf-8")), indent=1, sort_keys=True))
    return code


def _for_prediction(config: Config, *, trained: bool) -> Config:
    """The configuration with prompts for data; after training, with the model that was trained."""
    changed: dict[str, object] = {"do_train": False, "do_predict": True}
    output = str(config.get("output_dir"))
    if trained:
        changed["tokenized_path"] = str(Path(output) / "prompts")
        if config.get("finetuning_type") in ("lora", "oft"):
            changed["adapter_name_or_path"] = [output]
        else:
            changed["model_name_or_path"] = output
    return config.with_values(**changed)


def launch_job(
    draft: TrainJob, config: Config, say: Say, ready: Callable[[], TrainJob], *, as_json: bool = False
) -> int:
    """Run a job here or through torchrun; returns the exit code. `draft` is enough to plan the launch, `ready` prepares
    the data and gives the job itself. as_json: a dry run is told as JSON."""
    from stages.train.launch.torchrun import plan_launch

    launch = plan_launch(draft, os.environ)
    if config.flag("dry_run"):
        if as_json:
            click.echo(json_text(dry_run(launch, draft.run.output_dir)))
        elif launch and launch.argv:
            click.echo(launch.command())
        else:
            click.echo("in this process: one worker, no launcher needed")
        return 0
    if launch is not None and not launch.argv:  # a Slurm task is a worker
        os.environ.update(launch.env)
        say(launch.why)
        launch = None
    token = config.text("hf_hub_token") or config.text("hub_token")
    if token:
        os.environ.setdefault("HF_TOKEN", token)  # never in a file or a command line
    return _run(ready(), launch, say)


def dry_run(launch: Launch | None, output_dir: str) -> dict[str, object]:
    """What a run would do, as plain data. command, argv: null and empty when it stays in this process."""
    return {
        "dry_run": True,
        "launcher": "torchrun" if launch and launch.argv else None,
        "command": launch.command() if launch and launch.argv else None,
        "argv": list(launch.argv) if launch else [],
        "env": dict(launch.env) if launch else {},
        "why": launch.why if launch else "one worker, no launcher needed",
        "output_dir": output_dir,
    }


def shards(config: Config, say: Say) -> Path:
    """The folder of shards, packed if need be. Of several workers one packs, the others find it done."""
    from stages.train.launch.torchrun import is_worker

    if not is_worker(os.environ):
        return _prepare(config, say)
    from stages.train.hardware import machine
    from stages.train.launch.distributed import before_torch, in_turn

    before_torch()
    wait_s = config.whole("ddp_timeout")
    assert wait_s is not None
    on_cpu = machine(config.flag("use_cpu")).on_cpu
    with_deepspeed = bool(config.get("deepspeed")) and config.flag("do_train")
    return in_turn(lambda: _prepare(config, say), on_cpu=on_cpu, deepspeed=with_deepspeed, timeout_s=wait_s)


def _prepare(config: Config, say: Say) -> Path:
    """On several nodes one packs and the others wait for it."""
    from pipeline.runs.pack.run import ensure_prepared

    told = False
    while True:
        try:
            return ensure_prepared(config, say)
        except BusyFault:
            if int(os.environ.get("NNODES", "1") or 1) < 2:
                raise
            if not told:
                say("another node packs the data; waiting")
            told = True
            time.sleep(2)


def _run(job: TrainJob, launch: Launch | None, say: Say) -> int:
    from stages.train.job import JOB_FILE, to_json

    if launch is None:
        from stages.train.run import Stopped, train

        if job.task == "predict":
            from stages.train.generate.run import predict

            predict(job, say)
            return 0
        try:
            train(job, say)
        except Stopped as stopped:
            say(str(stopped))
            return stopped.exit_code
        return 0
    from stages.train.launch.supervisor import run_launch

    folder = Path(job.run.output_dir)
    _write_whole(folder, JOB_FILE, to_json(job))
    say(launch.why)
    say(f"  {launch.command()}")
    return run_launch(launch, say)


def _write_whole(folder: Path, name: str, text: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # nodes that share the folder write the same text; each renames a file of its own
        temporary = folder / f"{name}.{os.getpid()}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)
    except OSError as error:
        raise MachineFault(f"output_dir: {folder}: {error.strerror}") from None
