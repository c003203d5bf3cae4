"""Direct preference optimisation and its relatives: TRL's DPOTrainer on pairs that are tokens already.

prompt_ids  chosen_ids  rejected_ids      completions without the prompt; the collator joins them
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trl import DPOConfig, DPOTrainer

from stages.train.job import Preference
from stages.train.monitor.trainer_mixin import Watched

from . import Parts


class DpoTrainer(Watched, DPOTrainer):  # type: ignore[misc]  # TRL ships no types
    """DPOTrainer that takes its rows as they are."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        # there is no switch for it: the original tokenizes text columns that our rows do not have
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        # the original writes its cache beside the shards, which are not ours to add to
        folder = Path(self.args.output_dir)
        dataset._get_cache_file_path = lambda fingerprint: str(folder / f"reference-{name}-{fingerprint}.arrow")
        return super()._precompute_ref_logps(dataset, name, batch_size)


def losses(preference: Preference) -> tuple[list[str], list[float]]:
    """TRL's loss types and weights for LLaMA-Factory's settings.

    Smoothed sigmoid (conservative DPO) is (1-e) A + e B with A, B = -log sigmoid(+-x). TRL has no such type, but its
    `robust` is R = ((1-e) A - e B) / (1-2e), so the same is 2 (1-e) A - (1-2e) R. BCO is blended as
    (L + w BCO) / (1 + w); the supervised loss comes on top with `pref_ftx`.
    """
    smoothing, main = preference.label_smoothing, preference.loss
    if main == "sigmoid" and smoothing:
        types, weights = ["sigmoid", "robust"], [2 * (1 - smoothing), -(1 - 2 * smoothing)]
    else:
        types, weights = [main], [1.0]
    if preference.bco_weight:
        types.append("bco_pair")
        weights.append(preference.bco_weight)
        weights = [weight / (1 + preference.bco_weight) for weight in weights]
    if preference.ftx:
        types.append("sft")
        weights.append(preference.ftx)
    return types, weights


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
    return DpoTrainer(
        model=parts.model,
        ref_model=reference,
        args=config(parts),
        train_dataset=parts.train,
        eval_dataset=parts.evaluation,
        processing_class=parts.tokenizer,
        peft_config=parts.peft,
        callbacks=list(parts.callbacks),
    )
