"""Starting a training or prediction run: the job file, the workers, and what a dry run prints."""

from __future__ import annotations

import importlib.util
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


def train_with(config: Config, say: Say, *, as_json: bool = False, quiet: bool = True) -> int:
    """Prepares the data, launches the run and sees it to its end.

    Args:
        config: As loaded for `train`.
        say: Takes what a user should see, a line at a time.
        as_json: Whether a dry run prints JSON.
        quiet: Whether packing shows no progress.

    Returns:
        The exit code.

    Raises:
        Fault: When the run cannot start; found before the data is packed where that is possible.
    """
    from stages.train.launch.feasible import check_feasible
    from stages.train.model.load import check_start

    # what can be wrong with the job is found before hours of packing
    draft = job_from_config(config, Path())
    check_start(draft)
    check_feasible(draft, os.environ)

    def ready() -> TrainJob:
        return job_from_config(config, shards(config, say, quiet=quiet))

    return launch_job(draft, config, say, ready, as_json=as_json)


def predict_with(config: Config, say: Say, *, trained: bool = False, as_json: bool = False, quiet: bool = True) -> int:
    """Prepares the prompts, generates and measures.

    Args:
        config: As loaded for `predict`, or for `train` when `trained`.
        say: Takes what a user should see, a line at a time.
        trained: Whether to predict with the model that this run has just trained.
        as_json: Whether the measures, or the plan of a dry run, are printed as JSON.
        quiet: Whether packing shows no progress.

    Returns:
        The exit code.

    Raises:
        Fault: When the run cannot start; found before the data is packed where that is possible.
    """
    from stages.train.launch.feasible import check_feasible
    from stages.train.model.load import check_start

    config = _for_prediction(config, trained=trained)
    draft = predict_job_from_config(config, Path())
    check_start(draft)
    check_feasible(draft, os.environ)

    def ready() -> TrainJob:
        return predict_job_from_config(config, shards(config, say, quiet=quiet))

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
    """Runs a job in this process or through torchrun.

    Args:
        draft: The job without its data, which is enough to plan the launch.
        config: As loaded for the command.
        say: Takes what a user should see, a line at a time.
        ready: Prepares the data and returns the job itself; not called in a dry run.
        as_json: Whether a dry run prints JSON.

    Returns:
        The exit code.
    """
    from stages.train.launch.feasible import check_alone
    from stages.train.launch.torchrun import is_worker, plan_launch

    launch = plan_launch(draft, os.environ)
    if launch is None and not is_worker(os.environ):
        check_alone(draft, 1)
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
    _require_packages(draft)
    token = config.text("hf_hub_token") or config.text("hub_token")
    if token:
        os.environ.setdefault("HF_TOKEN", token)  # never in a file or a command line
    _make_repository(draft, say)
    return _run(ready(), launch, say)


def _require_packages(draft: TrainJob) -> None:
    """Raises ModuleNotFoundError for the first package that the workers will import: before hours of packing.

    A dry run needs none of them.
    """
    wanted = ["torch", "transformers"]
    if draft.task == "train":
        wanted += ["accelerate", "trl"]
    if draft.tuning.adapter or draft.model.adapters:
        wanted.append("peft")
    if draft.run.deepspeed:
        wanted.append("deepspeed")
    for name in wanted:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _make_repository(draft: TrainJob, say: Say) -> None:
    """The repository of push_to_hub, made before hours of work; of several processes by the first."""
    from stages.train.model.hub import make_repository, of_arguments

    repository = of_arguments(draft.arguments) if draft.task == "train" and draft.run.do_train else None
    if repository is None or os.environ.get("RANK", "0") != "0" or os.environ.get("NODE_RANK", "0") != "0":
        return
    make_repository(repository)
    say(f"note: push_to_hub: {repository.name} gets the model when the run is done")


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


def shards(config: Config, say: Say, *, quiet: bool = True) -> Path:
    """The folder of shards, packed if need be. Of several workers one packs, the others find it done."""
    from stages.train.launch.torchrun import is_worker

    if not is_worker(os.environ):
        return _prepare(config, say, quiet)
    from stages.train.hardware import machine
    from stages.train.launch.distributed import before_torch, in_turn

    before_torch()
    wait_s = config.whole("ddp_timeout")
    assert wait_s is not None
    on_cpu = machine(config.flag("use_cpu")).on_cpu
    with_deepspeed = bool(config.get("deepspeed")) and config.flag("do_train")
    return in_turn(lambda: _prepare(config, say, quiet), on_cpu=on_cpu, deepspeed=with_deepspeed, timeout_s=wait_s)


def _prepare(config: Config, say: Say, quiet: bool) -> Path:
    """On several nodes one packs and the others wait for it."""
    from pipeline.runs.pack.run import ensure_prepared

    announced = False
    while True:
        try:
            return ensure_prepared(config, say, quiet=quiet)
        except BusyFault:
            if int(os.environ.get("NNODES", "1") or 1) < 2:
                raise
            if not announced:
                say("another node packs the data; waiting")
            announced = True
            time.sleep(2)


def _run(job: TrainJob, launch: Launch | None, say: Say) -> int:
    from stages.train.job import JOB_FILE, to_json

    if launch is None:
        from stages.train.run import Stopped, train

        if job.task == "predict":
            from stages.train.generate.run import predict
            from stages.train.library_errors import translated

            with translated():
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
    before = _Before(folder)
    _write_whole(folder, JOB_FILE, to_json(job))
    say(launch.why)
    say(f"  {launch.command()}")
    try:
        code = run_launch(launch, say)
    except BaseException:
        before.put_back()
        raise
    if code not in (0, 143):
        before.put_back()
    return code


class _Before:
    """An output folder's job file, and how its log stood: put back when a launch ended before its run began."""

    def __init__(self, folder: Path) -> None:
        from stages.train.job import JOB_FILE

        self.folder = folder
        self.job = folder / JOB_FILE
        self.text = self.job.read_bytes() if self.job.is_file() else None
        self.log = self._log()

    def put_back(self) -> None:
        from stages.train.monitor.earlier_run import EarlierRun

        EarlierRun(self.folder).put_back()
        if self._log() != self.log:
            return
        if self.text is None:
            self.job.unlink(missing_ok=True)
        else:
            self.job.write_bytes(self.text)

    def _log(self) -> tuple[int, int] | None:
        try:
            found = (self.folder / "trainer_log.jsonl").stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size


def _write_whole(folder: Path, name: str, text: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # nodes that share the folder write the same text; each renames a file of its own
        temporary = folder / f"{name}.{os.getpid()}.tmp"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / name)
    except OSError as error:
        raise MachineFault(f"output_dir: {folder}: {error.strerror}") from None
