"""Loading a model and its tokenizer the way a job says.

A folder with a config but no weights trains from random weights only when `train_from_scratch` says so: a forgotten
download must not look like a bad learning rate.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import MachineFault, UsageFault, did_you_mean
from stages.train.hardware import require
from stages.train.job import ModelSpec, TrainJob
from stages.train.launch.distributed import deepspeed_config

from .adapter_chain import whole_chain

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model*.bin.index.json")


@dataclass(frozen=True)
class Loading:
    """How weights come in: `dtype` by torch's name, `attention` by transformers' ("" lets it choose), `reward` for a
    model with one score instead of a vocabulary; `seed` makes random weights the same in every process."""

    dtype: str = "float32"
    attention: str = ""
    reward: bool = False
    seed: int = 42


def load_model(spec: ModelSpec, loading: Loading, path: str | None = None) -> Any:
    """The model of `spec`, or another one loaded the same way.

    Args:
        spec: The model.
        loading: Its dtype, attention and head.
        path: The other one (a reference model); None for the one of `spec`.

    Raises:
        UsageFault: It is not found or has no weights.
        MachineFault: Its quantization needs a missing package.
    """
    import torch
    import transformers

    source = path or spec.path
    config = read_config(spec, source)
    auto = _auto_class(config, loading.reward)
    keywords: dict[str, Any] = {"dtype": getattr(torch, loading.dtype)}
    if loading.attention:
        keywords["attn_implementation"] = loading.attention
    # random weights (all of them, or a reward head) are the same in every process, in the reference copy, and again
    transformers.set_seed(loading.seed)
    if spec.from_scratch and path is None:
        model = auto.from_config(config, trust_remote_code=spec.trust_remote_code, **keywords)
        model.config._name_or_path = source
    else:
        _check_weights(source)
        quantization = _quantization(spec)
        if quantization is not None:
            keywords["quantization_config"] = quantization
        try:
            model = auto.from_pretrained(source, config=config, **origin(spec), **keywords)
        except ImportError as error:
            raise MachineFault(f"{source}: {str(error).strip().splitlines()[0]}") from None
    _repair_generation(model)
    if spec.upcast_layernorm:
        for name, module in model.named_modules():
            if "norm" in name.rpartition(".")[2].lower():
                module.to(torch.float32)
    return model


def fit_vocabulary(model: Any, vocabulary: int, grow: bool, notes: list[str]) -> None:
    """Make sure that every id of the shards has an embedding.

    Args:
        model: The loaded model.
        vocabulary: How many ids the tokenizer has that wrote the shards.
        grow: Whether rows may be added, around the mean of the old ones.
        notes: Takes how many were.

    Raises:
        UsageFault: The model has fewer and `grow` is off.
    """
    have = int(model.get_input_embeddings().num_embeddings)
    if vocabulary <= have:
        return
    if not grow:
        raise UsageFault(
            f"the shards were written with a tokenizer of {vocabulary:,} ids, the model has embeddings for {have:,}",
            hint="set resize_vocab: true to grow them, or pack with the model's own tokenizer",
        )
    model.resize_token_embeddings(vocabulary, pad_to_multiple_of=64)
    notes.append(f"embeddings grown from {have:,} to {model.get_input_embeddings().num_embeddings:,} rows")


def origin(spec: ModelSpec) -> dict[str, Any]:
    """Where a model comes from, as transformers' keyword arguments."""
    return {"revision": spec.revision, "cache_dir": spec.cache_dir, "trust_remote_code": spec.trust_remote_code}


def read_config(spec: ModelSpec, path: str | None = None) -> Any:
    """transformers' configuration of the model. Raises UsageFault when it is not found."""
    import transformers

    source = path or spec.path
    try:
        config = transformers.AutoConfig.from_pretrained(source, **origin(spec))
    except (OSError, ValueError) as error:
        folder = Path(source)
        if folder.is_dir():
            raise UsageFault(f"{source}: no usable config.json: {first_line(error)}") from None
        raise UsageFault(
            f"model_name_or_path: {source} is neither a folder here nor could it be fetched: {first_line(error)}"
        ) from None
    if spec.rope_scaling:
        _scale_rope(config, spec.rope_scaling)
    return config


def _scale_rope(config: Any, kind: str) -> None:
    text = config.get_text_config()
    known = ("linear", "dynamic", "yarn", "llama3")
    if kind not in known:
        raise UsageFault(f'rope_scaling: "{kind}" is none of {", ".join(known)}')
    length = int(getattr(text, "max_position_embeddings", 0) or 0)
    parameters = dict(getattr(text, "rope_parameters", None) or {})
    parameters.update({"rope_type": kind, "factor": 2.0})  # LLaMA-Factory's factor when no longer length is known
    if kind in ("dynamic", "yarn", "llama3"):
        parameters["original_max_position_embeddings"] = length
    if kind == "llama3":
        parameters.update({"low_freq_factor": 1.0, "high_freq_factor": 4.0})
    text.rope_parameters = parameters


def _auto_class(config: Any, reward: bool) -> Any:
    import transformers

    if reward:
        config.num_labels = 1
        return transformers.AutoModelForSequenceClassification
    if type(config) in transformers.AutoModelForCausalLM._model_mapping or not hasattr(config, "vision_config"):
        return transformers.AutoModelForCausalLM
    return transformers.AutoModelForImageTextToText  # a vision model trained on text alone


def check_start(job: TrainJob) -> None:
    """What can be found wrong with a job's model, adapters and DeepSpeed file without loading anything, so that it is
    reported before the data is packed. Raises UsageFault.
    """
    deepspeed_config(job.run.deepspeed, [])
    if not job.model.from_scratch:
        _check_weights(job.model.path)
    for adapter in job.model.adapters:
        _check_adapter(adapter, job.model.adapter_folder or "")
    whole_chain(job.model.adapters, job.model.adapter_folder, [])


def _check_weights(source: str) -> None:
    folder = Path(source)
    if folder.is_dir() and not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise UsageFault(
            f"{source}: a model config but no weights",
            hint="put the weights there, or set train_from_scratch: true to start from random ones",
        )


def _check_adapter(source: str, inside: str) -> None:
    folder = Path(source)
    if folder.is_dir():
        if not (folder / inside / "adapter_config.json").is_file():
            raise UsageFault(
                f"adapter_name_or_path: {folder / inside}: no adapter_config.json in it, so it holds no adapter",
                hint="name the output_dir of the run that trained it",
            )
        return
    # `owner/name` may be a repository, unless `owner` is a folder here and `name` a typo in it
    if folder.is_absolute() or source.startswith(".") or source.count("/") != 1 or folder.parent.is_dir():
        beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise UsageFault(f"adapter_name_or_path: {source}: there is no such folder{did_you_mean(folder.name, beside)}")


def _quantization(spec: ModelSpec) -> Any:
    if spec.quantization_bit is None:
        return None
    import torch
    import transformers

    bits, method = spec.quantization_bit, spec.quantization_method.lower()
    if method in ("bnb", "bitsandbytes"):
        require({"bitsandbytes": "bitsandbytes"}, f"quantization_bit: {bits}")
        if bits == 8:
            return transformers.BitsAndBytesConfig(load_in_8bit=True)
        if bits == 4:
            return transformers.BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_compute_dtype=torch.bfloat16,
                bnb_4bit_use_double_quant=spec.double_quantization,
                bnb_4bit_quant_type=spec.quantization_type,
                bnb_4bit_quant_storage=torch.bfloat16,
            )
        raise UsageFault(f"quantization_bit: bitsandbytes has 4 and 8, not {bits}")
    if method == "hqq":
        require({"hqq": "hqq"}, f"quantization_method: {method}")
        return transformers.HqqConfig(nbits=bits)
    if method == "eetq":
        require({"eetq": "eetq"}, f"quantization_method: {method}")
        return transformers.EetqConfig()
    raise UsageFault(f'quantization_method: "{method}" is none of bnb, hqq, eetq')


def _repair_generation(model: Any) -> None:
    # some published models carry sampling values without do_sample, which can be loaded but not saved
    settings = getattr(model, "generation_config", None)
    if settings is not None and not settings.do_sample:
        sampled = [getattr(settings, name, None) not in (None, 1.0) for name in ("temperature", "top_p", "typical_p")]
        if any(sampled):
            settings.do_sample = True


def first_line(error: Exception) -> str:
    """The first line of an error's text, its type when it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def reference_model(job: TrainJob, loading: Loading, vocabulary: int) -> Any:
    """A frozen second copy for DPO and KTO when all weights are trained: `ref_model`, else the start weights."""
    spec = dataclasses.replace(job.model, quantization_bit=job.model.reference_bit)
    model = load_model(spec, loading, job.model.reference)
    fit_vocabulary(model, vocabulary, job.model.grow_vocabulary, [])
    if job.model.reference_adapters:
        model = merge_adapters(model, dataclasses.replace(spec, adapters=job.model.reference_adapters), [])
    model.requires_grad_(False)
    return model.eval()


def merge_adapters(model: Any, spec: ModelSpec, notes: list[str]) -> Any:
    """The model with all of the spec's adapters merged in, and with those that they were trained on.

    Args:
        model: The published weights.
        spec: Its `adapters` are merged in turn.
        notes: Takes a line when adapters were added below.

    Raises:
        UsageFault: For an adapter that does not fit, or whose own start is not here.
    """
    import peft

    where = {"subfolder": spec.adapter_folder} if spec.adapter_folder else {}
    for adapter in whole_chain(spec.adapters, spec.adapter_folder, notes):
        try:
            model = peft.PeftModel.from_pretrained(model, adapter, **where).merge_and_unload()
        except (ValueError, OSError, RuntimeError) as error:
            raise UsageFault(f"adapter_name_or_path: {adapter}: {first_line(error)}") from None
    return model
