"""One training run in this process: check, load, build, prove, train, save.

    train(job) -> metrics        every process of a run calls it; only the first writes files and speaks

Raises a Fault for whatever is not our own bug; `Stopped` after a SIGTERM, when the checkpoint is complete.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from registry.errors import MachineFault, UsageFault
from stages.train.launch import distributed

from . import checkpoints, data, hardware
from .job import TrainJob
from .setup import Plan, Say, Setup, plan, start

RESULT_FILE = "prep_train.json"


class Stopped(Exception):
    """The run was asked to stop (SIGTERM or Ctrl-C) and has saved a checkpoint; the process should exit with
    `exit_code`: 143, 130 after Ctrl-C when it is alone."""

    def __init__(self, text: str, exit_code: int = 143) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def train(job: TrainJob, log: Say) -> dict[str, Any]:
    """Train `job` and return its metrics (train_loss, train_runtime, perplexity of the validation split, ...).

    log: takes one line for a person; called on the first process, and on any process whose loss jumps.
    """
    setup = start(job, log)
    try:
        metrics = _train(setup)
        distributed.everyone_here()  # a process that leaves early breaks the connections of the others
        return metrics
    finally:
        distributed.leave()


def _train(setup: Setup) -> dict[str, Any]:
    from stages.train.methods.build import build_trainer

    job, say = setup.job, setup.say
    planned = plan(setup)
    checkpoint = _checkpoint(setup, planned)
    distributed.everyone_here()
    trainer, stop = build_trainer(setup, planned, checkpoint)
    for note in setup.notes:
        say(f"note: {note}")
    if job.flag("print_param_status"):
        for name, parameter in trainer.model.named_parameters():
            state = "trained" if parameter.requires_grad else "frozen "
            say(f"{state}  {parameter.dtype}  {tuple(parameter.shape)}  {name}")
    say(_opening(setup, trainer, planned.numbers))
    if checkpoint is not None:
        kept = checkpoints.read_mark(checkpoint)
        trainer.seen_tokens = kept.tokens_seen if kept else 0
        trainer.seen_trained = kept.trained_tokens_seen if kept else 0
    if not job.run.do_train:
        return _evaluate(trainer, setup)
    if checkpoint is not None and _steps_done(checkpoint) >= _steps_wanted(trainer):
        return _finished_already(setup, trainer, checkpoint)
    metrics = _go(trainer, checkpoint)
    if stop.stopped:
        distributed.everyone_here()
        alone = distributed.process_count() == 1
        name = stop.signal.name if alone else "SIGTERM"
        raise Stopped(
            f"stopped by {name} at step {trainer.state.global_step}; checkpoint saved in {setup.output}",
            130 if name == "SIGINT" else 143,
        )
    return _finish(setup, trainer, metrics)


def _steps_done(checkpoint: Path) -> int:
    kept = checkpoints.read_mark(checkpoint)
    return kept.step if kept else 0


def _steps_wanted(trainer: Any) -> int:
    arguments = trainer.args
    if arguments.max_steps > 0:
        return int(arguments.max_steps)
    batches = len(trainer.get_train_dataloader())
    steps_an_epoch = max(1, -(-batches // int(arguments.gradient_accumulation_steps)))
    return math.ceil(float(arguments.num_train_epochs) * steps_an_epoch)


def _finished_already(setup: Setup, trainer: Any, checkpoint: Path) -> dict[str, Any]:
    """The results of a run whose last step is done; the trainer itself would take one more at each start."""
    results = setup.output / RESULT_FILE
    if results.is_file() and checkpoints.holds_a_model(setup.output):
        setup.say(
            f"finished: {_steps_done(checkpoint)} steps were done before, nothing is changed (raise max_steps or "
            "num_train_epochs to go on, set overwrite_output_dir: true to start anew)"
        )
        return dict(json.loads(results.read_text("utf-8"))["metrics"])
    if setup.deepspeed is not None:
        raise UsageFault(
            f"{checkpoint} has all the steps, but the run ended before its model was saved",
            hint=f"export it from there: model_name_or_path (or adapter_name_or_path): {checkpoint}",
        )
    from transformers import TrainerState

    setup.say("all steps were done before; the model is saved from the last checkpoint")
    trainer._load_from_checkpoint(str(checkpoint))
    trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    trainer._move_model_to_device(trainer.model, trainer.args.device)
    return _finish(setup, trainer, {})


def _checkpoint(setup: Setup, planned: Plan) -> Path | None:
    """The checkpoint to go on from; without one, those of the run before are removed if that is wanted."""
    job = setup.job
    if not job.run.do_train:
        return None
    found = checkpoints.starting_point(job, planned.mark, setup.deepspeed, setup.notes)
    if found is None and job.run.overwrite and distributed.is_first():
        removed = checkpoints.clear_old(setup.output)
        if removed:
            setup.notes.append(f"{removed} checkpoint(s) of the run before removed from {setup.output}")
    return found


def _opening(setup: Setup, trainer: Any, numbers: hardware.Precision) -> str:
    trained = hardware.footprint(trainer.model).trained
    arguments = trainer.args
    rows = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    segment = "bf16" if numbers.bf16 else "fp16" if numbers.fp16 else numbers.weights
    shape = "packed " if setup.prepared.packed else ""
    where = f"{segment} on {arguments.world_size} x {setup.here.device}"
    return (
        f"{setup.job.stage} ({setup.job.tuning.kind}): {trained:,} trained parameters, "
        f"{len(trainer.train_dataset):,} {shape}rows, {rows} a step, {where}"
    )


def _go(trainer: Any, start: Path | None) -> dict[str, float]:
    try:
        return dict(trainer.train(resume_from_checkpoint=str(start) if start else None).metrics)
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise MachineFault(
                f"the device ran out of memory at step {trainer.state.global_step + 1}",
                hint="lower per_device_train_batch_size (raise gradient_accumulation_steps) or cutoff_len, or use LoRA",
            ) from None
        raise


def _last_evaluation(trainer: Any) -> dict[str, Any]:
    """The evaluation of the weights as they are now, if the last step ended with one."""
    history = trainer.state.log_history
    if trainer.args.load_best_model_at_end:
        return {}
    found = [entry for entry in history if "eval_loss" in entry and entry["step"] == trainer.state.global_step]
    return {key: value for key, value in found[-1].items() if key.startswith("eval_")} if found else {}


def _evaluate(trainer: Any, setup: Setup) -> dict[str, Any]:
    """The validation split's measures, written to `eval_results.json`."""
    from stages.train.monitor.callbacks import evaluations

    evaluated: dict[str, Any] = _last_evaluation(trainer) or trainer.evaluate(metric_key_prefix="eval")
    if setup.job.method == "sft":
        for name in evaluations(evaluated):
            # eval_loss has always had `perplexity` beside it
            key = "perplexity" if name == "eval_loss" else name.removesuffix("loss") + "perplexity"
            evaluated[key] = math.exp(min(evaluated[name], 700.0))
    trainer.save_metrics("eval", evaluated)
    return evaluated


def _finish(setup: Setup, trainer: Any, metrics: dict[str, float]) -> dict[str, Any]:
    from stages.train.model.moved_base import moves_base
    from stages.train.model.tokenizer import settle

    job, say, output = setup.job, setup.say, setup.output
    trainer.save_model(str(output))
    if distributed.is_first():
        settle(output)
    if moves_base(job.tuning):
        say("the adapter is saved as an ordinary LoRA of twice the rank, which fits the model as it was published")
    trainer.catch_up()
    metrics["tokens_seen"] = trainer.seen_tokens
    metrics["trained_tokens_seen"] = trainer.seen_trained
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    if trainer.eval_dataset is not None:
        metrics.update(_evaluate(trainer, setup))
    if distributed.is_first():
        if job.run.plot_loss:
            from stages.train.monitor.callbacks import plot_history

            for path in plot_history(trainer.state.log_history, output):
                say(f"drawn: {path}")
        summary = {"data": data.manifest_digest(setup.prepared), "stage": job.stage, "metrics": metrics}
        (output / RESULT_FILE).write_text(json.dumps(summary, indent=1, default=str) + "\n", encoding="utf-8")
    say(
        f"done: {trainer.state.global_step} steps in {metrics.get('train_runtime', 0.0):.1f} s, "
        f"loss {metrics.get('train_loss', float('nan')):.4f}; saved in {output}"
    )
    return metrics
