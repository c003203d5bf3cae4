"""Settings that contradict each other, or that a command cannot do without.

Each check looks at typed values and says what to do. What LLaMA-Factory refuses but means something here (prediction
without an evaluation set, packing under another name) is a note instead.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Set
from typing import Literal

from registry.kinds import STAGES, dpo_losses, method_of

CommandName = Literal["validate", "pack", "train", "predict", "export"]
_SMOOTHED = ("sigmoid", "robust", "exo_pair")


def contradictions(values: Mapping[str, object], given: Set[str], command: CommandName | None) -> Iterator[str]:
    """One line for each mistake: the key, what is wrong, what to do.

    Args:
        values: The typed value of every key that prep or its training uses.
        given: The keys that the user wrote.
        command: Whose needs are checked as well; None for none.
    """
    yield from _of_stage(values, given)
    yield from _of_mixing(values)
    yield from _of_methods(values)
    if command in ("pack", "train", "predict", "export") and not values["model_name_or_path"]:
        yield "model_name_or_path: is missing: the folder, or hub name, of the model and its tokenizer"
    if command in ("validate", "pack", "predict") and not values["dataset"] and not values["eval_dataset"]:
        yield "dataset: is missing: name data sets of dataset_info.json, or files"
    if command == "train":
        yield from _of_training(values)
    if command == "export" and not values["export_dir"]:
        yield "export_dir: is missing: the folder for the exported model"
    if command == "predict" and values["infer_backend"] not in ("huggingface", "vllm"):
        yield f"infer_backend: {values['infer_backend']} is not offered; use huggingface or vllm"


def _of_stage(values: Mapping[str, object], given: Set[str]) -> Iterator[str]:
    stage = values["stage"]
    for key in ("train_on_prompt", "mask_history", "predict_with_generate"):
        if values[key] and stage != "sft":
            yield f"{key}: only stage sft has it, and this is stage {stage}; leave it out"
    if values["mask_history"] and values["train_on_prompt"]:
        yield "mask_history: trains the last answer only, train_on_prompt everything; choose one"
    if values["neat_packing"] and not STAGES[str(stage)].kind.sequence:
        yield f"neat_packing: only pt and sft rows are packed, and this is stage {stage}; leave it out"
    if stage in dpo_losses() and "pref_loss" in given and values["pref_loss"] != stage:
        yield f"pref_loss: {values['pref_loss']} contradicts stage {stage}; leave one of them out"
    try:
        datetime.date.fromisoformat(str(values["template_date"]))
    except ValueError:
        yield f'template_date: "{values["template_date"]}" is not a date (YYYY-MM-DD)'


def _of_mixing(values: Mapping[str, object]) -> Iterator[str]:
    val_size = values["val_size"]
    assert isinstance(val_size, float)
    if val_size > 1e-6:
        if values["eval_dataset"]:
            yield "val_size: splits off what eval_dataset already gives; choose one"
        if val_size == 1:
            yield "val_size: 1 is the share of everything and leaves nothing to train on; use less, or a count"
        if val_size > 1 and not val_size.is_integer():
            yield f"val_size: {val_size:g} is neither a share below 1 nor a count"
    shares = values["interleave_probs"]
    if shares is None:
        return
    assert isinstance(shares, list)
    if values["mix_strategy"] == "concat":
        yield "interleave_probs: only an interleaving mix_strategy draws by share (interleave_under, interleave_over)"
    for key in ("dataset", "eval_dataset"):
        names = values[key]
        if isinstance(names, list) and len(names) != len(shares):
            yield f"interleave_probs: {len(shares)} shares for {len(names)} data sets in {key}"
    if any(share < 0 for share in shares) or not math.isclose(sum(shares), 1.0, rel_tol=1e-6):
        yield f"interleave_probs: shares must not be negative and must add up to 1 (these give {sum(shares):g})"


def _of_methods(values: Mapping[str, object]) -> Iterator[str]:
    tuned, stage = values["finetuning_type"], values["stage"]
    if values["adapter_name_or_path"] and tuned != "lora":
        yield f"adapter_name_or_path: only finetuning_type lora loads adapters, and this is {tuned}"
    for key in ("use_rslora", "use_dora", "pissa_init", "loraplus_lr_ratio"):
        if values[key] and tuned != "lora":
            yield f"{key}: only finetuning_type lora has it, and this is {tuned}"
    if STAGES[method_of(str(stage), str(values["pref_loss"]))].reference:
        start = str(values["init_lora_weights"])
        if values["pissa_init"]:
            yield f"pissa_init: the base model is its own reference in stage {stage}, and PiSSA changes it"
        if tuned == "lora" and start.startswith(("pissa", "olora", "corda")):
            yield f"init_lora_weights: the base model is its own reference in stage {stage}, and {start} changes it"
    if values["quantization_bit"] is not None:
        yield from _of_quantization(values)
    low_rank = [key for key in ("use_galore", "use_apollo") if values[key]]
    if len(low_rank) == 2:
        yield "use_galore, use_apollo: choose one"
    for key in low_rank:
        if tuned == "lora":
            yield f"{key}: projects the gradients of whole weights; use finetuning_type full or freeze"
        if values["deepspeed"]:
            yield f"{key}: does not work with deepspeed"
    if values["dpo_label_smoothing"] and stage == "dpo" and values["pref_loss"] not in _SMOOTHED:
        yield f"dpo_label_smoothing: pref_loss {values['pref_loss']} has none; use {', '.join(_SMOOTHED)}"
    if values["bf16"] and values["fp16"]:
        yield "bf16, fp16: choose one"


def _of_quantization(values: Mapping[str, object]) -> Iterator[str]:
    adapters = values["adapter_name_or_path"]
    if values["finetuning_type"] not in ("lora", "oft"):
        yield "quantization_bit: a quantized model can only train adapters (finetuning_type lora or oft)"
    if values["pissa_init"]:
        yield "pissa_init: needs whole weights; leave quantization_bit out"
    if values["resize_vocab"]:
        yield "resize_vocab: the embedding of a quantized model cannot grow"
    if isinstance(adapters, list) and len(adapters) > 1:
        yield "adapter_name_or_path: a quantized model takes one adapter; merge them first"
    if adapters and values["create_new_adapter"]:
        yield "create_new_adapter: a quantized model cannot take the old adapter in"


def _of_training(values: Mapping[str, object]) -> Iterator[str]:
    stage = values["stage"]
    if stage == "ppo":
        yield (
            "stage: ppo cannot be trained here: TRL dropped its PPO trainer. Train dpo or kto, prepare prompts for a"
            " GRPO or RLOO trainer with `prep pack` and stage grpo or rloo, or use an older release of LLaMA-Factory"
        )
    elif STAGES[str(stage)].prompts_only:
        yield f"stage: {stage} needs reward functions, which are code; `prep pack` prepares its prompts"
    if stage == "dpo" and values["pref_loss"] == "kto_pair":
        yield "pref_loss: kto_pair is gone from TRL; use bco_pair, or stage kto"
    trains_not = (values["do_predict"] or values["do_eval"]) and not values["do_train"]
    if not values["dataset"] and not values["tokenized_path"] and not (trains_not and values["eval_dataset"]):
        yield "dataset: is missing: name data sets, or the folder of prepared shards as tokenized_path"
    evaluates = values["eval_dataset"] or (isinstance(values["val_size"], float) and values["val_size"] > 1e-6)
    if not evaluates and (values["dataset"] or not values["tokenized_path"]):  # shards bring their own validation split
        if values["do_eval"]:
            yield "do_eval: there is nothing to evaluate on; set val_size or eval_dataset"
        if values["eval_strategy"] != "no":
            yield "eval_strategy: there is nothing to evaluate on; set val_size or eval_dataset"
    if values["load_best_model_at_end"]:
        if values["eval_strategy"] == "no":
            yield "load_best_model_at_end: nothing is evaluated; set eval_strategy"
        elif values["save_strategy"] not in ("best", values["eval_strategy"]):
            yield "load_best_model_at_end: save_strategy and eval_strategy must be the same"


def remarks(values: Mapping[str, object], given: Set[str]) -> Iterator[str]:
    """Notes on settings that work, but not as they may be meant."""
    stage, val_size = values["stage"], values["val_size"]
    assert isinstance(val_size, float)
    if "packing" in given and values["packing"] and not STAGES[str(stage)].kind.sequence:
        yield f"packing: has no effect in stage {stage}; only pt and sft rows are packed"
    if values["do_predict"]:
        if not values["eval_dataset"] and val_size <= 1e-6 and values["dataset"]:
            yield "do_predict: there is no eval_dataset, so the records of dataset are the prompts"
        if stage == "sft" and "do_predict" in given and not values["predict_with_generate"]:
            yield "do_predict: predict_with_generate is off; answers are generated all the same"
    elif val_size > 1e-6 and values["eval_strategy"] == "no" and not values["do_eval"]:
        size = f"{val_size:.0f} records" if val_size > 1 else f"{val_size:.3g} of the records"
        yield f"val_size: splits off {size}, and eval_strategy is no: they are neither trained nor evaluated"
    if values["quantization_bit"] is not None and not values["upcast_layernorm"] and values["do_train"]:
        yield "quantization_bit: upcast_layernorm: true is advised"
