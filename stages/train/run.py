"""One training run in this process: check, load, build, prove, train, save.

    train(job) -> metrics        every process of a run calls it; only the first writes files and speaks

Raises a Fault for whatever is not our own bug; `Stopped` after a SIGTERM, when the checkpoint is complete.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.errors import MachineFault, UsageFault

from . import checkpoints, data, distributed, machine
from .arguments import trainer_arguments, unflattened
from .deepspeed_config import deepspeed_config, zero_stage
from .job import KINDS, TrainJob

RESULT_FILE = "prep_train.json"
Say = Callable[[str], None]


class Stopped(Exception):
    """The run was asked to stop (SIGTERM) and has saved a checkpoint; the process should exit with 143."""

    exit_code = 143


def train(job: TrainJob, log: Say) -> dict[str, Any]:
    """Train `job` and return its metrics (train_loss, train_runtime, perplexity of the validation split, ...).

    log: takes one line for a person; called on the first process, and on any process whose loss jumps.
    """
    distributed.before_torch()
    notes = list(job.notes)
    prepared = data.read_manifest(Path(job.data))
    _check_kind(job, prepared)
    here = machine.machine(bool(job.arguments.get("use_cpu")))
    distributed.quiet_libraries(on_cpu=here.on_cpu)
    deepspeed = deepspeed_config(job.run.deepspeed, notes)
    if deepspeed is not None:
        machine.require({"deepspeed": "deepspeed"}, "deepspeed")
    timeout_s = min(int(float(str(job.arguments.get("ddp_timeout") or 1800))), 10**9)
    distributed.start_processes(on_cpu=here.on_cpu, deepspeed=deepspeed is not None, timeout_s=timeout_s)
    splits = _splits(job, prepared)
    if distributed.is_first():
        checked = data.verify(prepared, splits)
        log(f"{prepared.root}: {len(splits)} split(s), {checked / 2**20:,.1f} MiB as packed")
    distributed.everyone_here()
    setup = _Setup(job, prepared, here, deepspeed, notes, log if distributed.is_first() else _nothing, log)
    try:
        metrics = _train(setup)
        distributed.everyone_here()  # a process that leaves early breaks the connections of the others
        return metrics
    finally:
        distributed.leave()


@dataclasses.dataclass(frozen=True)
class _Setup:
    job: TrainJob
    prepared: data.Prepared
    here: machine.Machine
    deepspeed: dict[str, Any] | None
    notes: list[str]
    say: Say  # the first process only
    shout: Say  # every process


def _nothing(_: str) -> None:
    return


def _check_kind(job: TrainJob, prepared: data.Prepared) -> None:
    wanted = KINDS[job.stage]
    if prepared.kind != wanted:
        raise UsageFault(
            f"{prepared.root} holds {prepared.kind} shards (stage {prepared.manifest.get('stage')}); "
            f"stage: {job.stage} trains from {wanted} shards",
            hint="pack the data again with this stage",
        )
    if job.run.do_train and "train" not in prepared.splits:
        raise UsageFault(f"{prepared.root}: its train split is empty, so there is nothing to train on")


def _splits(job: TrainJob, prepared: data.Prepared) -> list[str]:
    """train, and every validation split (one a data set with eval_on_each_dataset) when the run evaluates."""
    evaluates = job.run.do_eval or str(job.arguments.get("eval_strategy") or "no") != "no"
    if not evaluates:
        return ["train"]
    others = [name for name in prepared.splits if name != "train"]
    if not others:
        raise UsageFault(
            "do_eval/eval_strategy: the packed data has no validation split",
            hint="set val_size or eval_dataset and pack again, or eval_strategy: no",
        )
    return ["train", *others] if job.run.do_train else others


def _train(setup: _Setup) -> dict[str, Any]:
    job, say = setup.job, setup.say
    output = Path(job.run.output_dir)
    _make_folder(output)
    numbers = machine.precision(job, setup.here, setup.notes)
    fields = trainer_arguments(job, setup.here, numbers, setup.deepspeed, setup.notes)
    attention = machine.attention(job, setup.here, setup.notes)
    fields = _row_by_row(setup, fields, attention)
    rows_a_step = (
        int(fields["per_device_train_batch_size"])
        * int(fields["gradient_accumulation_steps"])
        * distributed.process_count()
    )
    mark = checkpoints.Mark(
        step=0,
        data=data.manifest_digest(setup.prepared),
        processes=distributed.process_count(),
        zero_stage=zero_stage(setup.deepspeed),
        round_robin=bool((setup.deepspeed or {}).get("zero_optimization", {}).get("round_robin_gradients")),
        rows_a_step=rows_a_step,
    )
    start = checkpoints.starting_point(job, mark, setup.deepspeed, setup.notes) if job.run.do_train else None
    if job.run.do_train and start is None and job.run.overwrite and distributed.is_first():
        removed = checkpoints.clear_old(output)
        if removed:
            setup.notes.append(f"{removed} checkpoint(s) of the run before removed from {output}")
    distributed.everyone_here()
    trainer, stop = _build(setup, fields, attention, mark)
    for note in setup.notes:
        say(f"note: {note}")
    if job.arguments.get("print_param_status"):
        for name, parameter in trainer.model.named_parameters():
            state = "trained" if parameter.requires_grad else "frozen "
            say(f"{state}  {parameter.dtype}  {tuple(parameter.shape)}  {name}")
    say(_opening(setup, trainer, numbers))
    if start is not None:
        kept = checkpoints.read_mark(start)
        trainer.seen_tokens = kept.tokens_seen if kept else 0
        trainer.seen_trained = kept.trained_tokens_seen if kept else 0
    if not job.run.do_train:
        return _evaluate(trainer, setup)
    metrics = _go(trainer, start)
    if stop.stopped:
        distributed.everyone_here()
        raise Stopped(f"stopped by SIGTERM at step {trainer.state.global_step}; checkpoint saved in {output}")
    return _finish(setup, trainer, metrics)


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineFault(f"output_dir: {output}: {error.strerror}") from None
    if not os.access(output, os.W_OK):
        raise MachineFault(f"output_dir: {output} is not writable")


def _row_by_row(setup: _Setup, fields: dict[str, Any], attention: str) -> dict[str, Any]:
    """Without flash attention a flattened batch of packed rows costs (rows x cutoff)^2 of attention mask, so rows go
    one at a time and accumulate to the same step."""
    rows = int(fields["per_device_train_batch_size"])
    if not setup.prepared.packed or attention.startswith("flash") or rows == 1:
        return fields
    fixed = {(setup.deepspeed or {}).get(key, "auto") for key in _BATCH_KEYS}
    if fixed != {"auto"}:
        return fields
    steps = int(fields["gradient_accumulation_steps"]) * rows
    setup.notes.append(f"packed rows without flash attention go one at a time: {steps} accumulate to a step, as before")
    return unflattened(fields, 1, steps)


_BATCH_KEYS = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")


def _build(setup: _Setup, fields: dict[str, Any], attention: str, mark: checkpoints.Mark) -> tuple[Any, Any]:
    import transformers

    from . import model as models
    from .callbacks import Checkpoint, Log, Preemption
    from .parts import METHODS, Parts
    from .tokenizer import load_tokenizer
    from .tuning import START_FOLDER, adapt, keep_start, moves_base
    from .watched import watch_rows

    job, notes = setup.job, setup.notes
    method = importlib.import_module(f"{__package__}.{METHODS[job.method]}")
    output = Path(job.run.output_dir)
    numbers = machine.precision(job, setup.here, [])
    loading = models.Loading(numbers.weights, attention, job.method == "rm", int(fields["seed"]))
    stop, save = Preemption(), Checkpoint(output, mark)
    callbacks: list[Any] = [Log(output, setup.say), save, stop]
    if job.run.early_stopping_steps:
        callbacks.append(transformers.EarlyStoppingCallback(early_stopping_patience=job.run.early_stopping_steps))
    # ZeRO-3 splits the weights while they are loaded, and learns that it should from the arguments
    arguments = _arguments_first(fields)
    net = models.load_model(job.model, loading)
    tokenizer = load_tokenizer(job.model, setup.prepared.manifest, notes=notes)
    models.fit_vocabulary(net, setup.prepared.vocabulary, job.model.grow_vocabulary, notes)
    net, peft = adapt(net, job, reward=job.method == "rm", notes=notes)
    own = [(_base(net), _base(net).forward)]

    def reference() -> Any:
        model = models.reference_model(job, loading, setup.prepared.vocabulary)
        own.append((model, model.forward))
        return model

    parts = Parts(
        job=job,
        model=net,
        tokenizer=tokenizer,
        fields=fields,
        # a trainer wants training rows even if it only evaluates
        train=_rows(setup, "train" if job.run.do_train else _splits(job, setup.prepared)[0], fields),
        evaluation=_evaluation(setup, fields),
        packed=setup.prepared.packed,
        peft=peft,
        reference=reference,
        callbacks=callbacks,
    )
    trainer = watch_rows(method.build(parts), job, setup.shout)
    del arguments
    trainer.remove_callback(transformers.PrinterCallback)
    save.trainer = trainer
    if moves_base(job.tuning) and distributed.is_first():
        keep_start(trainer.model, str(output / START_FOLDER))
    _check_space(setup, trainer, output)
    if job.method in ("sft", "dpo", "kto"):
        _prove(setup, trainer, own)
    return trainer, stop


def _arguments_first(fields: dict[str, Any]) -> Any:
    import transformers

    try:
        return transformers.TrainingArguments(**fields)
    except (ValueError, ImportError) as error:
        kind = MachineFault if isinstance(error, ImportError) else UsageFault
        raise kind(str(error).strip().splitlines()[0]) from None


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _evaluation(setup: _Setup, fields: dict[str, Any]) -> Any:
    others = [name for name in _splits(setup.job, setup.prepared) if name != "train"]
    rows = {name.removeprefix("validation_"): _rows(setup, name, fields) for name in others}
    return rows["validation"] if list(rows) == ["validation"] else rows or None


def _rows(setup: _Setup, split: str, fields: dict[str, Any]) -> Any:
    rows = data.dataset(setup.prepared, split)
    if fields.get("train_sampling_strategy") == "group_by_length" and split == "train":
        rows = rows.add_column(fields["length_column_name"], data.lengths(setup.prepared, split))
    return rows


def _check_space(setup: _Setup, trainer: Any, output: Path) -> None:
    if not distributed.is_first():
        return
    size = machine.footprint(trainer.model)
    machine.check_disk(output, size, setup.job, setup.notes)
    arguments, everyone = trainer.args, distributed.process_count()
    half = bool(arguments.bf16 or arguments.fp16)
    need = size.state_bytes(half=half, zero_stage=zero_stage(setup.deepspeed), processes=everyone)
    machine.check_memory(need, setup.here, int(os.environ.get("LOCAL_WORLD_SIZE", "1")), setup.notes)


def _prove(setup: _Setup, trainer: Any, own: list[tuple[Any, Callable[..., Any]]]) -> None:
    """The two proofs of `guards`. own: the models that TRL patched, each with the forward it had before."""
    from . import guards

    documents = guards.sample_documents(trainer.train_dataset, guards.vocabulary(trainer))
    if zero_stage(setup.deepspeed) == 3:
        # the weights are in pieces until the engine runs
        if setup.job.model.trust_remote_code:
            _plain_heads(own)
        if setup.prepared.packed:
            trainer.add_callback(_late_proof(trainer, documents))
        return
    if guards.head_gap(trainer, trainer.model, documents[0]) > guards.tolerance(trainer.model) * 100:
        _plain_heads(own)
        setup.notes.append(
            "this model's logits are not its output layer's alone, so the loss is taken from full logits"
        )
    if setup.prepared.packed:
        guards.check_isolation(trainer, trainer.model, documents)


def _plain_heads(own: list[tuple[Any, Callable[..., Any]]]) -> None:
    from . import guards

    for model, forward in own:
        guards.plain_head(model, forward)


def _late_proof(trainer: Any, documents: list[list[int]]) -> Any:
    import transformers

    from . import guards

    class Proof(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            guards.check_isolation(trainer, trainer.model_wrapped, documents)

    return Proof()


def _opening(setup: _Setup, trainer: Any, numbers: machine.Precision) -> str:
    trained = machine.footprint(trainer.model).trained
    arguments = trainer.args
    rows = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    half = "bf16" if numbers.bf16 else "fp16" if numbers.fp16 else numbers.weights
    shape = "packed " if setup.prepared.packed else ""
    where = f"{half} on {arguments.world_size} x {setup.here.device}"
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


def _evaluate(trainer: Any, setup: _Setup) -> dict[str, Any]:
    """The validation split's measures, written to `eval_results.json`."""
    import math

    evaluated: dict[str, Any] = _last_evaluation(trainer) or trainer.evaluate(metric_key_prefix="eval")
    if setup.job.method == "sft" and "eval_loss" in evaluated:
        evaluated["perplexity"] = math.exp(min(evaluated["eval_loss"], 700.0))
    trainer.save_metrics("eval", evaluated)
    return evaluated


def _finish(setup: _Setup, trainer: Any, metrics: dict[str, float]) -> dict[str, Any]:
    from .tokenizer import settle
    from .tuning import START_FOLDER, convert, moves_base

    job, say = setup.job, setup.say
    output = Path(job.run.output_dir)
    trainer.save_model(str(output))
    if distributed.is_first():
        settle(output)
    if moves_base(job.tuning) and distributed.is_first():
        convert(trainer.accelerator.unwrap_model(trainer.model), str(output), str(output / START_FOLDER))
        say("the adapter is saved as an ordinary LoRA of twice the rank, which fits the model as it was published")
    metrics["tokens_seen"] = trainer.seen_tokens
    metrics["trained_tokens_seen"] = trainer.seen_trained
    trainer.save_metrics("train", metrics)
    trainer.save_state()
    if trainer.eval_dataset is not None:
        metrics.update(_evaluate(trainer, setup))
    if distributed.is_first():
        if job.run.plot_loss:
            from .plot import plot_history

            for path in plot_history(trainer.state.log_history, output):
                say(f"drawn: {path}")
        summary = {"data": data.manifest_digest(setup.prepared), "stage": job.stage, "metrics": metrics}
        (output / RESULT_FILE).write_text(json.dumps(summary, indent=1, default=str) + "\n", encoding="utf-8")
    say(
        f"done: {trainer.state.global_step} steps in {metrics.get('train_runtime', 0.0):.1f} s, "
        f"loss {metrics.get('train_loss', float('nan')):.4f}; saved in {output}"
    )
    return metrics
