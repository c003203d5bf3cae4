"""Odds-ratio preference optimisation: TRL's experimental ORPOTrainer. No reference model.

Its supervised part is LLaMA-Factory's: the mean of each chosen answer's mean, without the prompt. TRL's covers the
prompt as well and is a mean over the micro-batch's tokens.
"""

from __future__ import annotations

from typing import Any

from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from stages.train.monitor.trainer_mixin import Watched

from . import Parts
from .reference_free import PairCollator, mapped


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
    trainer = OrpoTrainer(
        model=parts.model,
        args=orpo_config(parts),
        data_collator=PairCollator(parts.tokenizer.pad_token_id),
        train_dataset=mapped(parts.train),
        eval_dataset=mapped(parts.evaluation),
        processing_class=parts.tokenizer,
        peft_config=parts.peft,
        callbacks=list(parts.callbacks),
    )
    trainer.use_dpo_data_collator = True  # ours gives the same keys; the trainer warns about any other
    return trainer
