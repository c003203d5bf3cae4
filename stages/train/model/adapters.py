"""Which parameters are trained: all, some layers, or a low-rank adapter beside them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from registry.errors import UsageFault, did_you_mean
from stages.train.job import TrainJob, Tuning

from .adapter_chain import whole_chain


def freeze(model: Any, tuning: Tuning, notes: list[str]) -> None:
    """Train `freeze_layers` layers (the last ones; negative: the first) and the extra modules, freeze the rest.

    Args:
        model: The loaded model; its parameters' `requires_grad` is set.
        tuning: Within a layer `freeze_modules` chooses by name ("all", or mlp, self_attn, ...).
        notes: Takes which layers are trained.

    Raises:
        UsageFault: Names that the model does not have.
    """
    layers = int(getattr(model.config.get_text_config(), "num_hidden_layers", 0) or 0)
    if not layers:
        raise UsageFault("finetuning_type: freeze needs a model with numbered layers, which this one has not")
    count = min(abs(tuning.freeze_layers), layers)
    chosen = set(range(layers - count, layers)) if tuning.freeze_layers > 0 else set(range(count))
    names = {name for name, _ in model.named_parameters()}
    inside = {match.group(2) for name in names if (match := _LAYER.search(name))}
    outside = {part for name in names if not _LAYER.search(name) for part in name.split(".")[:-1]}
    everything = "all" in tuning.freeze_modules
    wanted = inside if everything else set(tuning.freeze_modules)
    _known("freeze_trainable_modules", wanted, inside | {"all"})
    _known("freeze_extra_modules", set(tuning.freeze_extra_modules), outside)
    trained = 0
    for name, parameter in model.named_parameters():
        match = _LAYER.search(name)
        if match:
            on = int(match.group(1)) in chosen and match.group(2) in wanted
        else:
            on = bool(set(name.split(".")) & set(tuning.freeze_extra_modules))
        parameter.requires_grad_(on)
        trained += parameter.numel() if on else 0
    notes.append(f"layers {_ranges(chosen)} of {layers} are trained: {trained:,} parameters")


_LAYER = re.compile(r"\.(\d+)\.([^.]+)")


def adapt(model: Any, job: TrainJob, *, reward: bool, notes: list[str]) -> tuple[Any, Any]:
    """The model and the PEFT configuration that TRL should wrap it with (None when there is nothing left to wrap).

    Existing adapters are merged, except the last one, which goes on being trained unless `create_new_adapter`.

    Args:
        model: The loaded model.
        job: Its adapters and what is trained.
        reward: Whether it gives a score.
        notes: Takes what was merged and what is trained.
    """
    tuning = job.tuning
    if tuning.kind == "full":
        return model, None
    if tuning.kind == "freeze":
        freeze(model, tuning, notes)
        return model, None
    adapters = whole_chain(job.model.adapters, job.model.adapter_folder, notes)
    resumed = adapters.pop() if adapters and not tuning.create_new_adapter else None
    folder = job.model.adapter_folder
    for adapter in adapters:
        model = _adapter(model, adapter, folder, trainable=False).merge_and_unload()
        notes.append(f"adapter {adapter} merged into the start weights")
    if resumed is not None:
        notes.append(f"adapter {resumed} is trained further")
        return _adapter(model, resumed, folder, trainable=True), None
    if job.model.grow_vocabulary and not tuning.additional_target:
        tuning = with_embeddings(model, tuning, reward=reward, notes=notes)
    if tuning.kind == "oft":
        return model, oft_config(model, tuning, reward=reward)
    return model, lora_config(model, tuning, reward=reward, bits=job.model.quantization_bit)


def with_embeddings(model: Any, tuning: Tuning, *, reward: bool, notes: list[str]) -> Tuning:
    """The tuning with the embeddings (and the output layer) among the trained modules, as in LLaMA-Factory when the
    vocabulary grows: the rows of new tokens would stay at the mean of the old ones otherwise.

    Raises UsageFault for orthogonal adapters on a model whose two layers are one, which PEFT would part.
    """
    layers = [model.get_input_embeddings()]
    tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False)) and not reward
    if tied and tuning.kind == "oft":
        raise UsageFault(
            "new tokens with finetuning_type: oft: this model's embeddings and output layer are one, and PEFT's OFT "
            "would train a copy of the one alone",
            hint="use finetuning_type: lora or full",
        )
    if not tied and not reward and model.get_output_embeddings() is not None:
        layers.append(model.get_output_embeddings())
    found = [name for name, module in model.named_modules() if any(module is layer for layer in layers)]
    names = tuple(dict.fromkeys(name.split(".")[-1] for name in found))
    listed = ", ".join(names)
    notes.append(f"the vocabulary grows, so {listed} are trained whole beside the adapter (additional_target)")
    return dataclasses.replace(tuning, additional_target=names)


def merged_below(job: TrainJob) -> list[str]:
    """The adapters that `adapt` merges into the start weights of an adapter run, lowest first."""
    if not job.tuning.adapter:
        return []
    adapters = whole_chain(job.model.adapters, job.model.adapter_folder, [])
    return adapters if job.tuning.create_new_adapter else adapters[:-1]


def _adapter(model: Any, path: str, folder: str | None, *, trainable: bool) -> Any:
    import peft

    where = {"subfolder": folder} if folder else {}
    try:
        return peft.PeftModel.from_pretrained(model, path, is_trainable=trainable, **where)
    except (ValueError, OSError) as error:
        raise UsageFault(f"adapter_name_or_path: {path}: {str(error).strip().splitlines()[0]}") from None


def lora_config(model: Any, tuning: Tuning, *, reward: bool, bits: int | None = None) -> Any:
    """PEFT's LoRA configuration for `tuning`.

    Args:
        model: The model, whose modules `lora_target` names.
        tuning: Rank, targets and start.
        reward: Whether the model gives a score.
        bits: Bits of a quantized base, None for a plain one.

    Raises:
        UsageFault: Target modules that the model does not have, or an adapter on the output layer (the trainers
            compute log-probabilities from its bare weight).
    """
    import peft

    extra: dict[str, Any] = {}
    tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False)) and not reward
    both = tied and _embeddings(model) in tuning.additional_target
    if both and "ensure_weight_tying" in inspect.signature(peft.LoraConfig).parameters:
        extra["ensure_weight_tying"] = True  # or the output layer keeps the old weights
    if tuning.lora_init == "loftq":
        extra["loftq_config"] = peft.LoftQConfig(loftq_bits=bits or 4)
    return peft.LoraConfig(
        **_common(model, tuning, "lora_target", tuning.lora_target, reward),
        r=tuning.lora_rank,
        lora_alpha=tuning.lora_alpha if tuning.lora_alpha is not None else 2 * tuning.lora_rank,
        lora_dropout=tuning.lora_dropout,
        use_rslora=tuning.use_rslora,
        use_dora=tuning.use_dora,
        init_lora_weights=tuning.lora_init,
        **extra,
    )


def _embeddings(model: Any) -> str:
    """The last part of the name of the model's input embeddings."""
    wanted = model.get_input_embeddings()
    return next((name.split(".")[-1] for name, module in model.named_modules() if module is wanted), "")


def oft_config(model: Any, tuning: Tuning, *, reward: bool) -> Any:
    """PEFT's configuration of orthogonal fine-tuning; of rank and block size one is 0. Raises like `lora_config`."""
    import peft

    return peft.OFTConfig(
        **_common(model, tuning, "oft_target", tuning.oft_target, reward),
        r=tuning.oft_rank,
        oft_block_size=0 if tuning.oft_rank else tuning.oft_block_size,
        module_dropout=tuning.module_dropout,
    )


def _common(model: Any, tuning: Tuning, key: str, target: tuple[str, ...], reward: bool) -> dict[str, Any]:
    import peft

    parts = {part for name, _ in model.named_modules() for part in name.split(".")}
    targets: str | list[str] = "all-linear" if "all" in target else list(target)
    if isinstance(targets, list):
        _known(key, {word.split(".")[-1] for word in targets}, parts)
        if "lm_head" in targets:
            raise UsageFault(f"{key}: lm_head cannot take an adapter here; use additional_target: lm_head")
    _known("additional_target", {word.split(".")[-1] for word in tuning.additional_target}, parts)
    return {
        "task_type": peft.TaskType.SEQ_CLS if reward else peft.TaskType.CAUSAL_LM,
        "inference_mode": False,
        "target_modules": targets,
        "modules_to_save": list(tuning.additional_target) or None,
    }


def _known(key: str, words: set[str], known: set[str]) -> None:
    problems = [f'{key}: the model has no module "{word}"{did_you_mean(word, known)}' for word in sorted(words - known)]
    if problems:
        raise UsageFault(problems, hint=f"its modules: {', '.join(sorted(w for w in known if not w.isdigit()))}")


def _ranges(numbers: set[int]) -> str:
    ordered = sorted(numbers)
    return f"{ordered[0]}-{ordered[-1]}" if len(ordered) > 1 else str(ordered[0])
