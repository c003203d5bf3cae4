"""The trainer's own arguments, every one of them set.

TRL's configurations differ from transformers' in defaults that change a run (bf16 and gradient checkpointing on, other
learning rates), and both change between releases. So each field starts from transformers' default, then takes prep's
choice, then the user's key: nothing is left to what a method's class happens to say.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .hardware import Machine, Precision, liger, reporters
from .job import TrainJob

# prep's choice where it differs from transformers' default
_OURS: dict[str, object] = {
    "logging_steps": 10,
    "logging_nan_inf_filter": False,  # a NaN must be seen, not replaced by the mean of the steps before
    "remove_unused_columns": False,  # the row numbers travel with the batch
    "disable_tqdm": True,
    "average_tokens_across_devices": True,
}
_DECIDED_HERE = {
    "output_dir",
    "deepspeed",
    "resume_from_checkpoint",
    "report_to",
    "use_cpu",
    "local_rank",
    "push_to_hub",
}


def trainer_arguments(
    job: TrainJob, here: Machine, numbers: Precision, deepspeed: dict[str, Any] | None, notes: list[str]
) -> dict[str, Any]:
    """Every field of transformers' TrainingArguments with its value for this run.

    Args:
        job: The run, with the user's keys.
        here: The machine.
        numbers: The run's number formats.
        deepspeed: The engine's configuration, None without it.
        notes: Takes what was turned off.

    Raises:
        MachineFault: A missing reporter.
    """
    defaults = transformers_defaults()
    requested = {
        name: job.arguments[name]
        for name in defaults
        if job.arguments.get(name) is not None and name not in _DECIDED_HERE
    }
    fields = {
        **defaults,
        **{name: value for name, value in _OURS.items() if name in defaults},
        **requested,
        "output_dir": job.run.output_dir,
        "use_cpu": here.on_cpu,
        "bf16": numbers.bf16,
        "fp16": numbers.fp16,
        "use_liger_kernel": liger(job, here, notes),
        "report_to": reporters(job.arguments),
        "dataloader_pin_memory": not here.on_cpu and requested.get("dataloader_pin_memory", True),
        "deepspeed": deepspeed,
        "do_train": True,
    }
    fields.update(_checkpointing(job, fields))
    if not job.run.shuffle:
        fields["train_sampling_strategy"] = "sequential"
    if here.on_cpu:
        fields["tf32"] = None
    if "save_strategy" in requested and str(requested["save_strategy"]) == "no":
        fields["save_only_model"] = False
    return fields


def _checkpointing(job: TrainJob, fields: dict[str, Any]) -> dict[str, Any]:
    """Gradient checkpointing as in LLaMA-Factory: on unless it is disabled. transformers is renaming it, so both names
    are set where both exist."""
    both = [job.arguments.get(name) for name in ("gradient_checkpointing", "activation_checkpointing")]
    on = next((given for given in both if given is not None), not job.flag("disable_gradient_checkpointing"))
    given = job.arguments.get("gradient_checkpointing_kwargs") or job.arguments.get("activation_checkpointing_kwargs")
    # the reentrant kind needs inputs with gradients and forgets keyword arguments
    keywords = given or ({"use_reentrant": job.flag("use_reentrant_gc")} if on else None)
    values = {"": bool(on), "_kwargs": keywords}
    names = ("gradient_checkpointing", "activation_checkpointing")
    return {name + end: value for name in names for end, value in values.items() if name + end in fields}


def transformers_defaults() -> dict[str, Any]:
    """Field -> default of transformers.TrainingArguments."""
    import transformers

    out = {}
    for field in dataclasses.fields(transformers.TrainingArguments):
        if not field.init:
            continue
        made = field.default_factory
        out[field.name] = field.default if made is dataclasses.MISSING else made()
    return out


def unflattened(fields: dict[str, Any], rows_at_once: int, accumulation: int) -> dict[str, Any]:
    """The same global batch with `rows_at_once` rows a device at a time."""
    return {
        **fields,
        "per_device_train_batch_size": rows_at_once,
        "per_device_eval_batch_size": rows_at_once,
        "gradient_accumulation_steps": accumulation,
    }
