"""One training run in this process: check, load, build, prove, train, save.

    train(job) -> metrics        every process of a run calls it; only the first writes files and logs

Raises a Fault for whatever is not our own bug; `Stopped` after a SIGTERM, when the checkpoint is complete.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from registry.errors import MachineFault, UsageFault
from stages.train.launch import distributed

from . import checkpoints, data, hardware
from .job import TrainJob
from .library_errors import LESS, out_of_memory, translated
from .model import hub
from .monitor.earlier_run import EarlierRun
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
    with translated():
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
    if checkpoint is not None and (done := _finished(setup, checkpoint)) is not None:
        return done
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
    metrics = _only_saving_is_left(setup, trainer, checkpoint) or _go(setup, trainer, checkpoint)
    if stop.stopped:
        distributed.everyone_here()
        alone = distributed.process_count() == 1
        name = stop.signal.name if alone else "SIGTERM"
        raise Stopped(
            f"stopped by {name} at step {trainer.state.global_step}; checkpoint saved in {setup.output}",
            130 if name == "SIGINT" else 143,
        )
    return _finish(setup, trainer, metrics)


def _checkpoint(setup: Setup, planned: Plan) -> Path | None:
    """The checkpoint to go on from. What a killed run had moved aside is put back before it is looked for."""
    if not setup.job.run.do_train:
        return None
    if distributed.is_first() and (count := EarlierRun(setup.output).put_back()):
        setup.notes.append(f"{count} checkpoint(s) put back that a run without a checkpoint of its own had replaced")
    distributed.everyone_here()
    return checkpoints.starting_point(setup.job, planned.mark, setup.deepspeed, setup.notes)


def _finished(setup: Setup, checkpoint: Path) -> dict[str, Any] | None:
    """The results of a run that has ended as this one would, None when there is something left to do."""
    try:
        end = json.loads((setup.output / RESULT_FILE).read_bytes())["end"]
        results = dict(json.loads((setup.output / "all_results.json").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if end["planned"] != _planned(setup.job) or not checkpoints.holds_a_model(setup.output):
        return None
    mark = checkpoints.read_mark(checkpoint)
    if mark is None or mark.step > int(end["steps"]):
        return None
    setup.say(
        f"{setup.output}: this run ended after {end['steps']} steps and nothing is changed; a larger max_steps or "
        "num_train_epochs goes on, overwrite_output_dir: true starts anew"
    )
    return results


def _planned(job: TrainJob) -> dict[str, object]:
    """What decides about a run's length."""
    return {key: job.arguments.get(key) for key in ("max_steps", "num_train_epochs")}


def _opening(setup: Setup, trainer: Any, numbers: hardware.Precision) -> str:
    trained = hardware.footprint(trainer.model).trained
    arguments = trainer.args
    rows = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    precision = "bf16" if numbers.bf16 else "fp16" if numbers.fp16 else numbers.weights
    shape = "packed " if setup.prepared.packed else ""
    where = f"{precision} on {arguments.world_size} x {setup.here.device}"
    return (
        f"{setup.job.stage} ({setup.job.tuning.kind}): {trained:,} trained parameters, "
        f"{len(trainer.train_dataset):,} {shape}rows, {rows} a step, {where}"
    )


def _go(setup: Setup, trainer: Any, start: Path | None) -> dict[str, float]:
    """The steps. What a fresh run had moved aside is put back when it ends without a checkpoint of its own."""
    from stages.train.monitor.callbacks import Replace

    if start is None:
        trainer.add_callback(Replace(setup.output, setup.say))
    try:
        return dict(trainer.train(resume_from_checkpoint=str(start) if start else None).metrics)
    except (RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise MachineFault(
                f"the device ran out of memory at step {trainer.state.global_step + 1}", hint=LESS
            ) from None
        raise
    finally:
        if sys.exc_info()[0] is not None and distributed.is_first():
            EarlierRun(setup.output).put_back()


def _only_saving_is_left(setup: Setup, trainer: Any, start: Path | None) -> dict[str, float]:
    """The figures of a run that was killed between its last checkpoint and its end, whose weights are then loaded; {}
    when there are steps to take. The trainer would take one step too many."""
    if start is None or setup.job.arguments.get("fsdp"):
        return {}
    from transformers import TrainerState

    state = TrainerState.load_from_json(str(start / "trainer_state.json"))
    arguments = trainer.args
    ended = state.global_step >= arguments.max_steps if arguments.max_steps > 0 else (
        (state.epoch or 0.0) >= arguments.num_train_epochs
    )  # fmt: skip
    if not ended:
        return {}
    if setup.deepspeed is not None:
        raise UsageFault(
            f"{start} has all the steps, but the run ended before its model was saved",
            hint=f"export it from there: model_name_or_path (or adapter_name_or_path): {start}",
        )
    trainer._load_from_checkpoint(str(start))
    trainer.state = state
    trainer._move_model_to_device(trainer.model, trainer.args.device)
    setup.say(f"every step was taken before: {start.name} is saved as the result")
    losses = [float(entry["loss"]) for entry in state.log_history if "loss" in entry]
    return {"train_loss": sum(losses) / max(len(losses), 1), "epoch": float(state.epoch or 0.0)}


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
    if setup.job.language_loss:
        for name in evaluations(evaluated):
            # eval_loss has always had `perplexity` beside it
            key = "perplexity" if name == "eval_loss" else name.removesuffix("loss") + "perplexity"
            evaluated[key] = math.exp(min(evaluated[name], 700.0))
    trainer.save_metrics("eval", evaluated)
    return evaluated


def _finish(setup: Setup, trainer: Any, metrics: dict[str, float]) -> dict[str, Any]:
    from stages.train.model.card import fill_card
    from stages.train.model.moved_base import moves_base
    from stages.train.model.tokenizer import settle

    job, say, output = setup.job, setup.say, setup.output
    trainer.save_model(str(output))
    if distributed.is_first():
        settle(output)
        fill_card(output, job)
        EarlierRun(output).forget()
    if moves_base(job.tuning):
        say("the adapter is saved as an ordinary LoRA of twice the rank, which fits the model as it was published")
    trainer.count()
    metrics["tokens_seen"] = trainer.seen_tokens
    metrics["trained_tokens_seen"] = trainer.seen_trained
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    if trainer.eval_dataset is not None:
        metrics.update(_evaluate(trainer, setup))
    if distributed.is_first():
        if job.run.plot_loss:
            from stages.train.monitor.callbacks import plot_history

            drawn = plot_history(trainer.state.log_history, output)
            for path in drawn:
                say(f"drawn: {path}")
            if not drawn:
                say("plot_loss: nothing drawn, for a curve needs two logged steps; lower logging_steps")
        end = {"steps": trainer.state.global_step, "planned": _planned(job)}
        summary = {"data": data.manifest_digest(setup.prepared), "stage": job.stage, "metrics": metrics, "end": end}
        (output / RESULT_FILE).write_text(json.dumps(summary, indent=1, default=str) + "\n", encoding="utf-8")
        if repository := hub.of_arguments(job.arguments):
            hub.upload(output, repository, say)
    say(
        f"done: {trainer.state.global_step} steps in {metrics.get('train_runtime', 0.0):.1f} s, "
        f"loss {metrics.get('train_loss', float('nan')):.4f}; saved in {output}"
    )
    return metrics
