"""Odds-ratio preference optimisation: TRL's experimental ORPOTrainer. No reference model.

Its supervised part is LLaMA-Factory's: the mean of each chosen answer's mean, without the prompt. TRL's covers the
prompt as well and is a mean over the micro-batch's tokens.
"""

from __future__ import annotations

from typing import Any

from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from stages.train.monitor.trainer_mixin import Watched

from . import Parts
from .reference_free import paired


class OrpoTrainer(Watched, ORPOTrainer):  # type: ignore[misc]  # TRL ships no types
    """ORPOTrainer with row numbers and LLaMA-Factory's supervised part."""

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
        """TRL's (chosen and rejected mean log-probabilities, logits of both, supervised loss, balance loss)."""
        found = super().concatenated_forward(model, batch)
        return (*found[:4], -(1 + self.job.preference.ftx) * found[0].mean(), *found[5:])


def orpo_config(parts: Parts) -> Any:
    """ORPOConfig with every field of its own set."""
    preference = parts.job.preference
    return ORPOConfig(
        **parts.fields,
        max_length=parts.job.whole("cutoff_len"),  # rows are cut already
        max_completion_length=None,
        beta=preference.beta,
        disable_dropout=not preference.keep_dropout,
        padding_value=None,
        generate_during_eval=False,
        is_encoder_decoder=False,
        model_init_kwargs=None,
        trust_remote_code=parts.job.model.trust_remote_code,
        dataset_num_proc=None,
    )


def build_orpo(parts: Parts) -> Any:
    """The trainer, ready to train."""
    return paired(OrpoTrainer, orpo_config(parts), parts)
