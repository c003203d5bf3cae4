"""Direct preference optimisation and its relatives: TRL's DPOTrainer on pairs that are tokens already.

prompt_ids  chosen_ids  rejected_ids      completions without the prompt; the collator joins them

Two parts come on top of TRL's loss, as in LLaMA-Factory: `pref_bco_weight`, a binary classifier of good and bad answers
around the running mean of the rewards, and `pref_ftx`, the mean of each chosen answer's mean.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from trl import DPOConfig, DPOTrainer

from stages.train.job import Preference
from stages.train.monitor.trainer_mixin import Watched

from . import Parts
from .listen import Listener, answer_means, overheard

REWARDS_FILE = "prep_rewards.json"


class DpoTrainer(Watched, DPOTrainer):  # type: ignore[misc]  # TRL ships no types
    """DPOTrainer that takes its rows as they are."""

    rewards: RunningMean

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        # there is no switch for it: the original tokenizes text columns that our rows do not have
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        # the original writes its cache beside the shards, which are not ours to add to
        folder = Path(self.args.output_dir)
        dataset._get_cache_file_path = lambda fingerprint: str(folder / f"reference-{name}-{fingerprint}.arrow")
        return super()._precompute_ref_logps(dataset, name, batch_size)

    def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
        preference = self.job.preference
        if not preference.ftx and not preference.bco_weight:
            return super()._compute_loss(model, inputs, return_outputs)
        heard, mask = Listener(model), inputs["completion_mask"]
        second = self.ref_model if self.ref_model is not None else self.accelerator.unwrap_model(self.model)
        with overheard(second) as references:
            result = super()._compute_loss(heard, inputs, return_outputs)
        loss = result[0] if return_outputs else result
        logps = heard.output.log_probs[:, -(mask.size(1) - 1) :]
        if preference.bco_weight:
            if self.precompute_ref_logps:
                reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
            else:
                reference = references[-1].log_probs[:, -(mask.size(1) - 1) :]
                reference = answer_sums(reference, mask, preference.ld_alpha)
            share = preference.bco_weight / (1 + preference.bco_weight)
            loss = loss + share * self._classified(answer_sums(logps, mask, preference.ld_alpha), reference)
        if preference.ftx:
            loss = loss - preference.ftx * answer_means(logps, mask).chunk(2)[0].mean()
        return (loss, *result[1:]) if return_outputs else loss

    def _classified(self, policy: Any, reference: Any) -> Any:
        """The binary classifier's mean loss; moves the running mean while training."""
        rewards = self.job.preference.beta * (policy - reference.to(policy.device))
        if self.model.training:
            self.rewards.add(float(self.accelerator.reduce(self.part.of_round * rewards.detach().mean(), "mean")))
        chosen, rejected = rewards.chunk(2)
        return bco_loss(chosen, rejected, self.rewards.mean).mean()

    def _save_checkpoint(self, *given: Any, **keywords: Any) -> None:
        super()._save_checkpoint(*given, **keywords)
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.job.preference.bco_weight and self.args.should_save:
            (folder / REWARDS_FILE).write_text(json.dumps(asdict(self.rewards)) + "\n", encoding="utf-8")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        file = Path(checkpoint or "") / REWARDS_FILE
        if checkpoint and file.is_file():
            self.rewards = RunningMean(**json.loads(file.read_bytes()))


def losses(preference: Preference) -> tuple[list[str], list[float]]:
    """TRL's loss types and weights for LLaMA-Factory's settings, without the parts that `DpoTrainer` adds.

    Smoothed sigmoid (conservative DPO) is (1-e) A + e B with A, B = -log sigmoid(+-x). TRL has no such type, but its
    `robust` is R = ((1-e) A - e B) / (1-2e), so the same is 2 (1-e) A - (1-2e) R. BCO is blended as
    (L + w BCO) / (1 + w).
    """
    smoothing, main = preference.label_smoothing, preference.loss
    if main == "sigmoid" and smoothing:
        types, weights = ["sigmoid", "robust"], [2 * (1 - smoothing), -(1 - 2 * smoothing)]
    else:
        types, weights = [main], [1.0]
    return types, [weight / (1 + preference.bco_weight) for weight in weights]


@dataclass
class RunningMean:
    """The mean of the batches' mean rewards since the first step; kept with the checkpoints."""

    count: int = 0
    mean: float = 0.0

    def add(self, value: float) -> None:
        """One more batch."""
        self.count += 1
        self.mean += (value - self.mean) / self.count


def bco_loss(chosen: Any, rejected: Any, shift: float) -> Any:
    """The binary classifier's loss, one a pair. chosen, rejected: rewards, float, pairs."""
    F = torch.nn.functional
    return -F.logsigmoid(chosen - shift) - F.logsigmoid(-(rejected - shift))


def answer_sums(log_probs: Any, mask: Any, tail_weight: float | None) -> Any:
    """Each answer's log-probability.

    Args:
        log_probs: Of each token but the first, float, (2 x pairs) x (tokens - 1); the chosen answers come first.
        mask: 1 at the answer's tokens, (2 x pairs) x tokens.
        tail_weight: What a token counts beyond the length of the pair's shorter answer (`ld_alpha`); None for 1.

    Returns:
        Float, 2 x pairs.
    """
    inside = mask[:, 1:].to(log_probs.device)
    if tail_weight is None:
        return (log_probs * inside).sum(-1)
    chosen, rejected = inside.sum(-1).chunk(2)
    shorter = chosen.minimum(rejected).repeat(2)[:, None]
    tail = (inside.cumsum(-1) > shorter) & inside.bool()
    return (log_probs * inside * (1 - tail.float() * (1 - tail_weight))).sum(-1)


def config(parts: Parts) -> Any:
    """DPOConfig with every field of its own set."""
    preference = parts.job.preference
    types, weights = losses(preference)
    return DPOConfig(
        **parts.fields,
        model_init_kwargs=None,
        trust_remote_code=parts.job.model.trust_remote_code,
        router_aux_loss_coef=parts.job.arguments.get("moe_aux_loss_coef") or 0.0,
        disable_dropout=not preference.keep_dropout,
        dataset_num_proc=None,
        max_length=None,
        truncation_mode="keep_start",
        padding_free=False,
        pad_to_multiple_of=None,
        precompute_ref_log_probs=preference.precompute,
        precompute_ref_batch_size=None,
        loss_type=types,
        loss_weights=weights,
        ld_alpha=preference.ld_alpha,
        f_divergence_type="reverse_kl",
        f_alpha_divergence_coef=0.5,
        label_smoothing=preference.label_smoothing,
        beta=preference.beta,
        use_weighting=False,
        discopop_tau=0.05,
        activation_offloading=parts.job.flag("activation_offloading"),
        sync_ref_model=False,
        ref_model_mixup_alpha=0.6,
        ref_model_sync_steps=512,
        pad_token=None,
    )


def build(parts: Parts) -> Any:
    """The trainer, ready to train."""
    reference = parts.reference() if parts.needs_reference and parts.reference is not None else None
    trainer = DpoTrainer(
        model=parts.model,
        ref_model=reference,
        args=config(parts),
        train_dataset=parts.train,
        eval_dataset=parts.evaluation,
        processing_class=parts.tokenizer,
        peft_config=parts.peft,
        callbacks=list(parts.callbacks),
    )
    trainer.rewards = RunningMean()
    return trainer
