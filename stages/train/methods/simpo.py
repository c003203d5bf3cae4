"""Simple preference optimisation: TRL's experimental CPOTrainer with SimPO's loss and without CPO's supervised part.
`pref_ftx` adds that part. No reference model."""

from __future__ import annotations

from typing import Any

from trl.experimental.cpo import CPOConfig, CPOTrainer

from stages.train.monitor.trainer_mixin import Watched

from . import Parts
from .reference_free import paired


class SimpoTrainer(Watched, CPOTrainer):  # type: ignore[misc]  # TRL ships no types
    """CPOTrainer with row numbers, and LLaMA-Factory's `pref_ftx`: the mean of each chosen answer's mean."""

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
        """TRL's (chosen and rejected mean log-probabilities, logits of both, supervised loss, balance loss)."""
        found = super().concatenated_forward(model, batch)
        return (*found[:4], -found[0].mean(), *found[5:])


def simpo_config(parts: Parts) -> Any:
    """CPOConfig with every field of its own set."""
    preference = parts.job.preference
    return CPOConfig(
        **parts.fields,
        max_length=parts.job.whole("cutoff_len"),  # rows are cut already
        max_completion_length=None,
        beta=preference.beta,
        label_smoothing=preference.label_smoothing,
        loss_type="simpo",
        disable_dropout=not preference.keep_dropout,
        cpo_alpha=preference.ftx,
        simpo_gamma=preference.simpo_gamma,
        alpha=0.0,
        generate_during_eval=False,
        is_encoder_decoder=False,
        model_init_kwargs=None,
        trust_remote_code=parts.job.model.trust_remote_code,
        dataset_num_proc=None,
    )


def build_simpo(parts: Parts) -> Any:
    """The trainer, ready to train."""
    return paired(SimpoTrainer, simpo_config(parts), parts)
