"""Supervised fine-tuning and pretraining: TRL's SFTTrainer on rows that are tokens and labels already.

packed row      A A A B B   input_ids, labels, seq_lengths [3, 2]
position ids    0 1 2 0 1   made by the collator; no attention mask, or the examples would see each other
"""

from __future__ import annotations

from typing import Any

from trl import SFTConfig, SFTTrainer

from stages.train.monitor.trainer_mixin import Watched

from . import Parts


class SftTrainer(Watched, SFTTrainer):  # type: ignore[misc]  # TRL ships no types
    """SFTTrainer with row numbers."""


def config(parts: Parts) -> Any:
    """SFTConfig with every field of its own set; `padding_free` follows the shards, never the user."""
    return SFTConfig(
        **parts.fields,
        model_init_kwargs=None,
        trust_remote_code=parts.job.model.trust_remote_code,
        router_aux_loss_coef=parts.job.arguments.get("moe_aux_loss_coef") or 0.0,
        chat_template_path=None,
        dataset_text_field="text",
        dataset_kwargs={"skip_prepare_dataset": True},
        dataset_num_proc=None,
        eos_token=None,
        max_length=None,
        truncation_mode="keep_start",
        shuffle_dataset=False,
        packing=False,
        packing_strategy="bfd",
        padding_free=parts.packed,
        pad_to_multiple_of=None,
        eval_packing=False,
        completion_only_loss=None,
        assistant_only_loss=False,
        loss_type="dft" if parts.job.run.dft_loss else "nll",
        activation_offloading=False,
        pad_token=None,
    )


def build(parts: Parts) -> Any:
    """The trainer, ready to train."""
    return SftTrainer(
        model=parts.model,
        args=config(parts),
        train_dataset=parts.train,
        eval_dataset=parts.evaluation,
        processing_class=parts.tokenizer,
        peft_config=parts.peft,
        callbacks=list(parts.callbacks),
    )
