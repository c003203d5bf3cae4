"""What is settled before there is a model: the data, the machine, the processes of the run, the size of a batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import MachineFault, UsageFault
from stages.train.launch import distributed
from stages.train.launch.distributed import deepspeed_config, zero_stage

from . import data, hardware
from .checkpoints import Mark
from .job import KINDS, TrainJob
from .trainer_args import trainer_arguments, unflattened

Say = Callable[[str], None]

_BATCH_KEYS = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
_LONGEST_S = 10**9
_OPTIMIZER = ("learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon")
_SCHEDULE = ("num_train_epochs", "max_steps", "lr_scheduler_type", "warmup_steps")


@dataclass(frozen=True)
class Setup:
    """One process's view of a run. splits: those that are read; notes: sentences to show before the start; say: takes a
    line on the first process only; shout: on every process."""

    job: TrainJob
    prepared: data.Prepared
    here: hardware.Machine
    deepspeed: dict[str, Any] | None
    splits: list[str]
    notes: list[str]
    say: Say
    shout: Say

    @property
    def output(self) -> Path:
        """Where the run writes."""
        return Path(self.job.run.output_dir)

    @property
    def zero_stage(self) -> int:
        """How much DeepSpeed splits; 0 without it."""
        return zero_stage(self.deepspeed)


@dataclass(frozen=True)
class Plan:
    """How the trainer is to be built. fields: every field of transformers' TrainingArguments; attention: transformers'
    name of the back end, "" lets it choose; mark: what a checkpoint of this run says of it."""

    fields: dict[str, Any]
    numbers: hardware.Precision
    attention: str
    mark: Mark


def start(job: TrainJob, log: Say) -> Setup:
    """Checks data and machine and starts the processes; the first one has then read every shard.

    Raises UsageFault when the data is not what the job trains from, MachineFault when something is not installed.
    """
    distributed.before_torch()
    notes = list(job.notes)
    prepared = data.read_manifest(Path(job.data))
    _check_kind(job, prepared)
    here = hardware.machine(job.flag("use_cpu"))
    distributed.quiet_libraries(on_cpu=here.on_cpu)
    deepspeed = deepspeed_config(job.run.deepspeed, notes)
    if deepspeed is not None:
        hardware.require({"deepspeed": "deepspeed"}, "deepspeed")
    timeout_s = min(job.whole("ddp_timeout"), _LONGEST_S)
    distributed.start_processes(on_cpu=here.on_cpu, deepspeed=deepspeed is not None, timeout_s=timeout_s)
    splits = _splits(job, prepared)
    if distributed.is_first():
        checked = data.verify(prepared, splits)
        log(f"{prepared.root}: {len(splits)} split(s), {checked / 2**20:,.1f} MiB as packed")
    distributed.everyone_here()
    say = log if distributed.is_first() else _nothing
    return Setup(job, prepared, here, deepspeed, splits, notes, say, log)


def plan(setup: Setup) -> Plan:
    """The trainer's arguments and the mark of its checkpoints. Raises MachineFault for what is not possible here."""
    job = setup.job
    _make_folder(setup.output)
    numbers = hardware.precision(job, setup.here, setup.notes)
    fields = trainer_arguments(job, setup.here, numbers, setup.deepspeed, setup.notes)
    attention = hardware.attention(job, setup.here, setup.notes)
    setup.notes.extend(_beyond_positions(setup))
    fields = _row_by_row(setup, fields, attention)
    processes = distributed.process_count()
    _check_one_batch(setup, fields, processes)
    rows = int(fields["per_device_train_batch_size"]) * int(fields["gradient_accumulation_steps"]) * processes
    mark = Mark(
        step=0,
        data=data.manifest_digest(setup.prepared),
        processes=processes,
        zero_stage=setup.zero_stage,
        round_robin=bool((setup.deepspeed or {}).get("zero_optimization", {}).get("round_robin_gradients")),
        rows_a_step=rows,
        optimizer={name: fields[name] for name in _OPTIMIZER if name in fields},
        schedule={name: fields[name] for name in _SCHEDULE if name in fields},
    )
    return Plan(fields, numbers, attention, mark)


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
    evaluates = job.run.do_eval or job.arguments["eval_strategy"] != "no"
    if not evaluates:
        return ["train"]
    others = [name for name in prepared.splits if name != "train"]
    if not others:
        raise UsageFault(
            "do_eval/eval_strategy: the packed data has no validation split",
            hint="set val_size or eval_dataset and pack again, or eval_strategy: no",
        )
    return ["train", *others] if job.run.do_train else others


def _beyond_positions(setup: Setup) -> list[str]:
    """A note when examples are longer than what the model's positions were made for, which no library says."""
    from .model.load import read_config

    prepared, spec = setup.prepared, setup.job.model
    try:
        config = read_config(spec)
    except UsageFault:  # told when the model is loaded, with everything else that is wrong with it
        return []
    limit = positions(config.get_text_config(), scaled=bool(spec.rope_scaling))
    if not limit or int(prepared.manifest["cutoff_len"] or limit + 1) <= limit:
        return []
    longest = max(data.longest_example(prepared, split) for split in setup.splits)
    if longest <= limit:
        return []
    what = "with this rope_scaling" if spec.rope_scaling else "as published"
    return [
        f"the longest example has {longest:,} tokens, the model has positions for {limit:,} {what}: "
        "lower cutoff_len, or set rope_scaling (yarn, linear)"
    ]


def positions(config: Any, *, scaled: bool) -> int:
    """How many positions a model knows, by transformers' configuration of its text part; 0 when it does not say.
    scaled: rope_scaling was set for this run, and its factor has not entered the published number."""
    limit = int(getattr(config, "max_position_embeddings", 0) or 0)
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    factor = rope.get("factor") if isinstance(rope, dict) else None
    original = rope.get("original_max_position_embeddings") if isinstance(rope, dict) else None
    if not factor:
        return limit
    start = int(original or (limit if scaled else 0))
    return max(limit, int(start * float(factor)))


def _check_one_batch(setup: Setup, fields: dict[str, Any], processes: int) -> None:
    """With dataloader_drop_last the last, smaller batch is left out; it must not be the only one."""
    if not fields["dataloader_drop_last"] or not setup.job.run.do_train:
        return
    rows = int(setup.prepared.manifest["splits"]["train"]["rows"])
    batch = int(fields["per_device_train_batch_size"]) * processes
    if rows < batch:
        raise UsageFault(
            f"dataloader_drop_last: the data has {rows:,} rows, fewer than one batch of {batch:,}, so none is left",
            hint="lower per_device_train_batch_size, or set dataloader_drop_last: false",
        )


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineFault(f"output_dir: {output}: {error.strerror}") from None
    if not os.access(output, os.W_OK):
        raise MachineFault(f"output_dir: {output} is not writable")


def _row_by_row(setup: Setup, fields: dict[str, Any], attention: str) -> dict[str, Any]:
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
