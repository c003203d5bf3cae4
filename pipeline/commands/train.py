"""`prep train`: from shards to a model; packs first when the config names raw data and no up-to-date shards exist."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import PASS_ON, config_of, say_notes
from .common import as_json as json_text

if TYPE_CHECKING:
    from pipeline.config import Config
    from stages.train.job import TrainJob
    from stages.train.launch import Launch

Say = Callable[[str], None]


@click.command(context_settings=PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CONFIG.yaml] [key=value ...]")
@click.option("-o", "--output", metavar="OUT", help="Folder or URL for the shards (config key: tokenized_path).")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes for packing.")
@click.option("--dry-run", is_flag=True, help="Print the command that would start training, and stop.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="The metrics (with --dry-run the plan) on stdout, everything else on stderr.",
)
def command(
    arguments: tuple[str, ...], output: str | None, workers: int | None, dry_run: bool, quiet: bool, as_json: bool
) -> int:
    """Train from shards with TRL; packs first when the config names raw data.

    CONFIG.yaml takes LLaMA-Factory's keys; each can be overridden as key=value or --key value. Several devices, NNODES,
    RDZV_ID, DeepSpeed or FORCE_TORCHRUN start one worker a device through torchrun.

    \b
      prep train sft.yaml
      prep train sft.yaml finetuning_type=full learning_rate=1e-5
      NNODES=2 NODE_RANK=0 MASTER_ADDR=node0 prep train sft.yaml deepspeed=z3
    """
    config = config_of(arguments, "train", {"tokenized_path": output, "workers": workers, "dry_run": dry_run or None})
    speaks = os.environ.get("RANK", "0") == "0"

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    say_notes(config, quiet or not speaks)
    if config.flag("do_predict") and not config.flag("do_train"):
        from .predict import predict_with

        return predict_with(config, say, as_json=as_json)
    code = train_with(config, say, as_json=as_json)
    if code == 0 and not config.flag("dry_run") and speaks:
        code = _after(config, say, as_json=as_json)
    return code


def train_with(config: Config, say: Say, *, as_json: bool = False) -> int:
    """Prepare the data, launch the run and see it to its end; returns the exit code. as_json: a dry run is told as
    JSON. Raises a Fault."""
    from stages.train.from_config import job_from_config
    from stages.train.model import check_start

    values = config.public()
    # what can be wrong with the job is found before hours of packing
    draft = job_from_config(values, Path(), config.given)
    check_start(draft)

    def ready() -> TrainJob:
        return job_from_config(values, shards(config, say, values), config.given)

    return launch_job(draft, config, say, ready, as_json=as_json)


def launch_job(
    draft: TrainJob, config: Config, say: Say, ready: Callable[[], TrainJob], *, as_json: bool = False
) -> int:
    """Run a job here or through torchrun; returns the exit code. `draft` is enough to plan the launch, `ready` prepares
    the data and gives the job itself. as_json: a dry run is told as JSON."""
    from stages.train.launch import plan_launch

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
    token = config.values.get("hf_hub_token") or config.values.get("hub_token")
    if token:
        os.environ.setdefault("HF_TOKEN", str(token))  # never in a file or a command line
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


def shards(config: Config, say: Say, values: Mapping[str, object]) -> Path:
    """The folder of shards, packed if need be. Of several workers one packs, the others find it done."""
    from stages.train.launch import is_worker

    if not is_worker(os.environ):
        return _prepare(config, say)
    from stages.train.distributed import before_torch, in_turn
    from stages.train.machine import machine

    before_torch()
    wait_s = int(str(values.get("ddp_timeout") or 1800))
    on_cpu = machine(bool(values.get("use_cpu"))).on_cpu
    with_deepspeed = bool(values.get("deepspeed")) and bool(values.get("do_train"))
    return in_turn(lambda: _prepare(config, say), on_cpu=on_cpu, deepspeed=with_deepspeed, timeout_s=wait_s)


def _prepare(config: Config, say: Say) -> Path:
    """On several nodes one packs and the others wait for it."""
    from pipeline.prepare import ensure_prepared
    from registry.errors import BusyFault

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
            from stages.train.predict import predict

            predict(job, say)
            return 0
        try:
            train(job, say)
        except Stopped as stopped:
            say(str(stopped))
            return Stopped.exit_code
        return 0
    from stages.train.supervise import run_launch

    folder = Path(job.run.output_dir)
    _write_whole(folder, JOB_FILE, to_json(job))
    say(launch.why)
    say(f"  {launch.command()}")
    return run_launch(launch, say)


def _write_whole(folder: Path, name: str, text: str) -> None:
    from registry.errors import MachineFault

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # nodes that share the folder write the same text; each renames a file of its own
        temporary = folder / f"{name}.{os.getpid()}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)
    except OSError as error:
        raise MachineFault(f"output_dir: {folder}: {error.strerror}") from None


def _after(config: Config, say: Say, *, as_json: bool) -> int:
    """What comes after training: prediction when it is asked for, and the metrics on stdout."""
    import json

    if config.flag("do_predict"):
        from stages.train.distributed import go_on_alone

        from .predict import predict_with

        go_on_alone()
        code = predict_with(config, say, trained=True, as_json=False)
        if code:
            return code
    if as_json:
        results = Path(config.text("output_dir") or "") / "all_results.json"
        metrics: Mapping[str, object] = json.loads(results.read_text("utf-8")) if results.exists() else {}
        click.echo(json.dumps(metrics, indent=1, sort_keys=True))
    return 0
