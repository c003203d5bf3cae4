"""Reward models: TRL's RewardTrainer, which scores a whole conversation by its last token.

The shards hold answers without their prompt, so the collator joins them. RewardTrainer's own would train on the answers
alone, without an error.
"""

from __future__ import annotations

from typing import Any

from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from stages.train.monitor.trainer_mixin import Watched

from . import Parts


class RmTrainer(Watched, RewardTrainer):  # type: ignore[misc]  # TRL ships no types
    """RewardTrainer that takes its rows as they are."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class JoiningCollator:
    """TRL's collator over prompt and answer together."""

    def __init__(self, pad_token_id: int) -> None:
        self.inner = DataCollatorForPreference(pad_token_id=pad_token_id)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [
            {name: example["prompt_ids"] + example[name] for name in ("chosen_ids", "rejected_ids")}
            for example in examples
        ]
        return dict(self.inner(rows))


def config(parts: Parts) -> Any:
    """RewardConfig with every field of its own set."""
    return RewardConfig(
        **parts.fields,
        model_init_kwargs=None,
        trust_remote_code=parts.job.model.trust_remote_code,
        chat_template_path=None,
        disable_dropout=not parts.job.preference.keep_dropout,
        dataset_num_proc=None,
        eos_token=None,
        max_length=None,
        pad_to_multiple_of=None,
        center_rewards_coefficient=None,
        activation_offloading=parts.job.flag("activation_offloading"),
        pad_token=None,
    )


def build(parts: Parts) -> Any:
    """The trainer, ready to train."""
    return RmTrainer(
        model=parts.model,
        args=config(parts),
        data_collator=JoiningCollator(parts.tokenizer.pad_token_id),
        train_dataset=parts.train,
        eval_dataset=parts.evaluation,
        processing_class=parts.tokenizer,
        peft_config=parts.peft,
        callbacks=list(parts.callbacks),
    )
