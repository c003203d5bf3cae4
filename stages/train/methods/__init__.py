"""The training methods, and what each gets to build its trainer from."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.train.job import TrainJob

# method -> module beside this one, imported when a run needs it (TRL is slow), and its function that makes the trainer
METHODS = {
    "sft": ("sft", "build"),
    "dpo": ("dpo", "build"),
    "kto": ("kto", "build"),
    "rm": ("rm", "build"),
    "orpo": ("orpo", "build_orpo"),
    "simpo": ("simpo", "build_simpo"),
}


def builder(method: str) -> Callable[[Parts], Any]:
    """The function that makes a method's trainer, ready to train."""
    module, name = METHODS[method]
    build: Callable[[Parts], Any] = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    return build


@dataclass(frozen=True)
class Parts:
    """fields: every transformers TrainingArguments field; peft: what TRL wraps the model with, or None; reference:
    makes the frozen second model, for the methods that need one; max_rows_tokens: longest row, in tokens."""

    job: TrainJob
    model: Any
    tokenizer: Any
    fields: dict[str, Any]
    train: Any
    evaluation: Any = None
    packed: bool = False
    peft: Any = None
    reference: Callable[[], Any] | None = None
    callbacks: Sequence[Any] = field(default_factory=tuple)

    @property
    def needs_reference(self) -> bool:
        """Whether the start weights are lost while training, so that a frozen copy must be kept."""
        model = self.job.model
        return not self.job.tuning.adapter or model.reference is not None or bool(model.reference_adapters)
