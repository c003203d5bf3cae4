"""What an adapter module gets to build its trainer from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .job import TrainJob

METHODS = {  # TrainJob.method -> the module that builds its trainer, loaded with TRL when a run needs it
    "sft": "sft", "dpo": "dpo", "kto": "kto", "rm": "rm", "orpo": "orpo", "simpo": "simpo",
}  # fmt: skip


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
        return not self.job.tuning.adapter or self.job.model.reference is not None
