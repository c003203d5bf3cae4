"""Kahneman-Tversky optimisation: TRL's KTOTrainer on single answers marked good or bad.

Its KL term compares the model with the reference on answers that do not belong to their prompt. The collator makes
them by exchanging the answers of neighbours:

    batch   (x1 y1) (x2 y2) (x3 y3) (x4 y4) (x5 y5)
    KL      (x1 y2) (x2 y1) (x3 y4) (x4 y5) (x5 y3)     pairs; an odd rest goes round in three

Pairs, and not one turn of the whole batch, so that two processes with half of the batch each see the same ones. Rows
come in a new seeded order each epoch: in the order of the file, neighbours often share their prompt.
"""

from __future__ import annotations

from typing import Any

import transformers
from trl import KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from stages.train.monitor.trainer_mixin import Watched

from . import Parts
from .listen import Listener, answer_means


class KtoTrainer(Watched, KTOTrainer):  # type: ignore[misc]  # TRL ships no types
    """KTOTrainer that takes its rows as they are, in a seeded random order, with an optional supervised loss."""

    shuffled = True

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if not self.shuffled:
            return super()._get_train_sampler(train_dataset)
        # the original insists on a sequential order, since it bakes its KL answers into the rows; ours are made later
        self.args.train_sampling_strategy = "random"
        try:
            return transformers.Trainer._get_train_sampler(self, train_dataset)
        finally:
            self.args.train_sampling_strategy = "sequential"

    def _compute_kl_logps(self, model: Any, batch: Any) -> Any:
        # the KL term is a mean over the processes, of which some may hold a blank batch
        found = super()._compute_kl_logps(model, batch)
        return found if found is None or not self.model.training else found * self.part.of_round

    def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
        weight = self.job.preference.ftx
        if not weight:
            return super()._compute_loss(model, inputs, return_outputs)
        listener = Listener(model)
        result = super()._compute_loss(listener, inputs, return_outputs)
        loss = result[0] if return_outputs else result
        loss = loss + weight * _supervised(listener.output, inputs)
        return (loss, *result[1:]) if return_outputs else loss


def _supervised(output: Any, inputs: Any) -> Any:
    """Mean over the good answers of their mean negative log-probability per token; 0 without a good one."""
    each = -answer_means(output.log_probs, inputs["completion_mask"])
    good = inputs["label"].to(each.device).float()
    return (each * good).sum() / good.sum().clamp(min=1)


class KlCollator:
    """TRL's collator, with each row's answer for the KL term added."""

    def __init__(self, pad_token_id: int) -> None:
        self.inner = DataCollatorForUnpairedPreference(pad_token_id=pad_token_id)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        partners = exchanged(len(examples))
        rows = [
            {**example, "KL_completion_ids": examples[partner]["completion_ids"]}
            for example, partner in zip(examples, partners, strict=True)
        ]
        return dict(self.inner(rows))


def exchanged(rows: int) -> list[int]:
    """Whose answer each row of a batch borrows: its neighbour's in pairs; the last three of an odd batch go round. A
    single row can only keep its own."""
    partners = [number ^ 1 for number in range(rows)]
    if rows % 2:
        partners[-1] = rows - 1
        if rows > 1:
            partners[-3:] = [rows - 2, rows - 1, rows - 3]
    return partners


def config(parts: Parts) -> Any:
    """KTOConfig with every field of its own set."""
    preference = parts.job.preference
    fields = {**parts.fields, "train_sampling_strategy": "sequential"}
    return KTOConfig(
        **fields,
        model_init_kwargs=None,
        trust_remote_code=parts.job.model.trust_remote_code,
        router_aux_loss_coef=parts.job.arguments.get("moe_aux_loss_coef") or 0.0,
        disable_dropout=not preference.keep_dropout,
        dataset_num_proc=None,
        max_length=None,
        pad_to_multiple_of=None,
        precompute_ref_log_probs=False,
        precompute_ref_batch_size=None,
        loss_type="kto",
        beta=preference.beta,
        desirable_weight=preference.chosen_weight,
        undesirable_weight=preference.rejected_weight,
        activation_offloading=parts.job.flag("activation_offloading"),
        sync_ref_model=False,
        ref_model_mixup_alpha=0.6,
        ref_model_sync_steps=512,
    )


def build(parts: Parts) -> Any:
    """The trainer, ready to train."""
    reference = parts.reference() if parts.needs_reference and parts.reference is not None else None
    trainer = KtoTrainer(
        model=parts.model,
        ref_model=reference,
        args=config(parts),
        data_collator=KlCollator(parts.tokenizer.pad_token_id),
        train_dataset=parts.train,
        eval_dataset=parts.evaluation,
        processing_class=parts.tokenizer,
        peft_config=parts.peft,
        callbacks=list(parts.callbacks),
    )
    trainer.shuffled = parts.job.run.shuffle
    return trainer
