"""The trainer of a run: model, tokenizer, adapters and rows, put into the class of its method."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import MachineFault, UsageFault
from stages.train import data, hardware
from stages.train.launch import distributed
from stages.train.model.adapters import adapt
from stages.train.model.moved_base import START_FOLDER, check_start_kept, keep_start, moves_base
from stages.train.model.router import set_router_loss
from stages.train.model.tokenizer import load_tokenizer, stop_at
from stages.train.monitor.callbacks import Checkpoint, Log, Preemption
from stages.train.monitor.trainer_mixin import watch_rows
from stages.train.preflight import prove
from stages.train.setup import Plan, Setup

from . import Parts, builder

_PROVEN = ("sft", "dpo", "kto")  # methods whose trainers take log-probabilities from hidden states


def build_trainer(setup: Setup, plan: Plan, checkpoint: Path | None = None) -> tuple[Any, Preemption]:
    """The trainer, proven and ready to train, and what notices that the run is to stop. checkpoint: where it goes on.

    Raises UsageFault or MachineFault for what this model or machine cannot do.
    """
    import transformers

    job = setup.job
    build = builder(job.method)
    stop, save = Preemption(), Checkpoint(setup.output, plan.mark)
    callbacks: list[Any] = [Log(setup.output, setup.say, perplexity=job.language_loss), save, stop]
    if job.run.early_stopping_steps:
        callbacks.append(transformers.EarlyStoppingCallback(early_stopping_patience=job.run.early_stopping_steps))
    # ZeRO-3 splits the weights while they are loaded, and learns that it should from the arguments
    arguments = _arguments_first(plan.fields)
    loaded = _load(setup, plan)
    parts = Parts(
        job=job,
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        fields=plan.fields,
        # a trainer wants training rows even if it only evaluates
        train=_rows(setup, "train" if job.run.do_train else setup.splits[0], plan.fields),
        evaluation=_evaluation(setup, plan.fields),
        packed=setup.prepared.packed,
        peft=loaded.peft,
        reference=loaded.reference,
        callbacks=callbacks,
    )
    transformers.set_seed(int(plan.fields["seed"]))  # adapters are drawn (and decomposed) by the trainer
    trainer = watch_rows(build(parts), job, setup.shout)
    del arguments
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.own_router = loaded.router
    save.trainer = trainer
    _keep_start(setup, trainer, checkpoint)
    _check_space(setup, trainer)
    if job.method in _PROVEN:
        prove(setup, trainer, loaded.own)
    return trainer, stop


def _keep_start(setup: Setup, trainer: Any, checkpoint: Path | None) -> None:
    if not moves_base(setup.job.tuning):
        return
    start = setup.output / START_FOLDER
    if distributed.is_first():
        keep_start(trainer.model, start)
    distributed.everyone_here()
    if checkpoint is not None:
        check_start_kept(start, checkpoint)


@dataclass(frozen=True)
class _Loaded:
    """own: each model that TRL will patch, with the forward it has before; `reference` adds its own; router: the base
    configuration's own settings of its experts' balance loss."""

    model: Any
    tokenizer: Any
    peft: Any
    reference: Callable[[], Any]
    own: list[tuple[Any, Callable[..., Any]]]
    router: dict[str, Any]


def _load(setup: Setup, plan: Plan) -> _Loaded:
    from stages.train.model import load as models

    job, notes, vocabulary = setup.job, setup.notes, setup.prepared.vocabulary
    loading = models.Loading(plan.numbers.weights, plan.attention, job.method == "rm", int(plan.fields["seed"]))
    net = models.load_model(job.model, loading)
    tokenizer = load_tokenizer(job.model, setup.prepared.manifest, notes=notes)
    models.fit_vocabulary(net, vocabulary, job.model.grow_vocabulary, notes)
    stop_at(net, setup.prepared.manifest, tokenizer)
    weight = job.arguments.get("moe_aux_loss_coef")
    router = set_router_loss(net, float(weight) if isinstance(weight, (int, float)) else None)
    net, peft = adapt(net, job, reward=job.method == "rm", notes=notes)
    own = [(_base(net), _base(net).forward)]

    def reference() -> Any:
        model = models.reference_model(job, loading, vocabulary)
        own.append((model, model.forward))
        return model

    return _Loaded(net, tokenizer, peft, reference, own, router)


def _arguments_first(fields: dict[str, Any]) -> Any:
    import transformers

    try:
        return transformers.TrainingArguments(**fields)
    except (ValueError, ImportError) as error:
        kind = MachineFault if isinstance(error, ImportError) else UsageFault
        raise kind(str(error).strip().splitlines()[0]) from None


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _evaluation(setup: Setup, fields: dict[str, Any]) -> Any:
    others = [name for name in setup.splits if name != "train"]
    rows = {name.removeprefix("validation_"): _rows(setup, name, fields) for name in others}
    return rows["validation"] if list(rows) == ["validation"] else rows or None


def _rows(setup: Setup, split: str, fields: dict[str, Any]) -> Any:
    rows = data.dataset(setup.prepared, split)
    if fields.get("train_sampling_strategy") == "group_by_length" and split == "train":
        rows = rows.add_column(fields["length_column_name"], data.lengths(setup.prepared, split))
    return rows


def _check_space(setup: Setup, trainer: Any) -> None:
    if not distributed.is_first():
        return
    size = hardware.footprint(trainer.model)
    hardware.check_disk(setup.output, size, setup.job, setup.notes)
    arguments, everyone = trainer.args, distributed.process_count()
    half_precision = bool(arguments.bf16 or arguments.fp16)
    need = size.state_bytes(half_precision=half_precision, zero_stage=setup.zero_stage, processes=everyone)
    hardware.check_memory(need, setup.here, int(os.environ.get("LOCAL_WORLD_SIZE", "1")), setup.notes)
