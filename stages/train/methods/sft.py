"""Supervised fine-tuning and pretraining: TRL's SFTTrainer on rows that are tokens and labels already.

packed row      A A A B B   input_ids, labels, seq_lengths [3, 2]
position ids    0 1 2 0 1   made by the collator; no attention mask, or the examples would see each other
"""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from stages.train.monitor.trainer_mixin import Watched

from . import Parts


class SftTrainer(Watched, SFTTrainer):  # type: ignore[misc]  # TRL ships no types
    """SFTTrainer with row numbers, and evaluations whose loss is a mean over all tokens of all processes."""

    whole_evaluations = True
    _evaluated: list[Any]

    def loss_weight(self) -> float:
        """The loss is a sum over the tokens of the whole step already."""
        return 1.0 if self.part.share else 0.0

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The trainer's; in an evaluation it notes each batch's sum and count of tokens."""
        if self.model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch=num_items_in_batch)
        count = (inputs["labels"][:, 1:] != -100).sum()
        found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch=None)
        loss = (found[0] if return_outputs else found).detach()
        wide = torch.float32 if loss.device.type == "mps" else torch.float64
        self._evaluated.append(torch.stack([loss.to(wide) * count, count.to(wide)]))
        return found

    def evaluation_loop(self, *given: Any, metric_key_prefix: str = "eval", **keywords: Any) -> Any:
        """The trainer's, which would take the mean over batches."""
        self._evaluated = []
        output = super().evaluation_loop(*given, metric_key_prefix=metric_key_prefix, **keywords)
        total, count = self.accelerator.reduce(torch.stack(self._evaluated).sum(0), "sum").tolist()
        if count:
            output.metrics[f"{metric_key_prefix}_loss"] = total / count
        return output


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
