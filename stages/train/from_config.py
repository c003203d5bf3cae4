"""A configuration in LLaMA-Factory's words, read into a `TrainJob`; what cannot be done is told, all of it at once."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path

from registry.errors import UsageFault, did_you_mean

from .job import KINDS, Generation, ModelSpec, Preference, RunSpec, TrainJob, Tuning
from .reader import Reader

DPO_LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip
PREFERENCE_LOSSES = (*DPO_LOSSES, "orpo", "simpo")

ATTENTION = {
    "auto": "",
    "disabled": "eager",
    "off": "eager",
    "eager": "eager",
    "sdpa": "sdpa",
    "fa2": "flash_attention_2",
    "flash_attention_2": "flash_attention_2",
    "fa3": "flash_attention_3",
    "flash_attention_3": "flash_attention_3",
    "flex_attention": "flex_attention",
}

_WHY_NOT = {
    "ppo": "TRL, which does the training, has no PPO trainer any more; `prep pack` prepares the prompts for GRPO or "
    "RLOO (stage: grpo | rloo), or use an older LLaMA-Factory for PPO itself",
    "grpo": "GRPO needs a reward function of yours: `prep pack` writes its prompts, TRL's GRPOTrainer takes them",
    "rloo": "RLOO needs a reward function of yours: `prep pack` writes its prompts, TRL's RLOOTrainer takes them",
}
_NOT_OURS = {
    "use_badam": "BAdam is not offered; try optim: galore_adamw or finetuning_type: lora",
    "use_adam_mini": "Adam-mini is not offered; try optim: adamw_8bit or galore_adamw",
    "use_muon": "LLaMA-Factory's own Muon is not offered; transformers' optimizers are chosen by `optim`",
    "use_llama_pro": "LLaMA Pro's block expansion is not offered; try finetuning_type: freeze",
    "use_unsloth": "unsloth patches the model at run time, which this stage does not",
    "use_asft_loss": "this loss has no counterpart in TRL",
    "use_eaft_loss": "this loss has no counterpart in TRL",
    "use_kt": "KTransformers is not offered",
    "use_ray": "Ray Train can call stages.train.run.train in each of its workers; prep itself starts torchrun",
    "use_swanlab": "use report_to: swanlab",
    "mixture_of_depths": "mixture of depths is not offered",
}

# where prep's default is not LLaMA-Factory's: its filled-in value is not taken for the user's wish
_OURS = frozenset({"logging_steps", "logging_nan_inf_filter", "use_reentrant_gc", "disable_tqdm"})


def job_from_config(values: Mapping[str, object], data: Path, given: Set[str] | None = None) -> TrainJob:
    """The job that a config asks for. `values` are LLaMA-Factory's keys, missing ones take its defaults; `data` is the
    folder with the packed shards; `given` are the keys that the user wrote himself (None: all of them).

    Raises UsageFault with every problem at once: a stage or option this stage does not have, a missing key, a value of
    the wrong type.
    """
    read = Reader({key: value for key, value in values.items() if given is None or key in given or key not in _OURS})
    stage = read.text("stage", "sft")
    if stage in ("orpo", "simpo"):
        read.values = {**read.values, "stage": "dpo", "pref_loss": stage}
        stage = "dpo"
    read.check(stage in KINDS, "stage", _stage_problem(stage))
    for key, why in _NOT_OURS.items():
        read.check(not values.get(key), key, why)
    notes: list[str] = []
    job = TrainJob(
        stage=stage,
        data=str(data),
        model=_model(read),
        run=_run(read),
        tuning=_tuning(read),
        preference=_preference(read, notes),
        arguments=_arguments(read, notes),
        notes=tuple(notes),
    )
    _cross_checks(read, job)
    if read.problems:
        raise UsageFault(read.problems)
    return job


def predict_job_from_config(values: Mapping[str, object], data: Path, given: Set[str] | None = None) -> TrainJob:
    """The prediction that a config asks for; `data` is the folder with the prompts. Raises UsageFault like
    `job_from_config`."""
    read = Reader({key: value for key, value in values.items() if given is None or key in given or key not in _OURS})
    stage = read.text("stage", "sft")
    read.check(
        stage in ("pt", "sft", "dpo", "kto", "orpo", "simpo"), "stage", f"a model of stage {stage} does not answer"
    )
    adapters = read.words("adapter_name_or_path")
    kind = read.text("finetuning_type", "lora")
    read.check(not adapters or kind in ("lora", "oft"), "adapter_name_or_path", "needs finetuning_type: lora")
    job = TrainJob(
        stage="sft",
        data=str(data),
        model=_model(read),
        run=_run(read),
        arguments=_arguments(read, []),
        task="predict",
        generation=_generation(read),
    )
    if read.problems:
        raise UsageFault(read.problems)
    return job


def _generation(read: Reader) -> Generation:
    settings = read.values.get("vllm_config")
    engine_settings = {
        **(dict(settings) if isinstance(settings, Mapping) else {}),
        **{name: read.values.get(f"vllm_{name}") for name in ("maxlen", "gpu_util", "enforce_eager", "max_lora_rank")},
    }
    dtype = read.text("infer_dtype", "auto")
    read.check(dtype in ("auto", "float16", "bfloat16", "float32"), "infer_dtype", f'"{dtype}" is no number format')
    new_tokens = read.whole("max_new_tokens", 1024)
    return Generation(
        max_new_tokens=1024 if new_tokens is None else new_tokens,
        max_length=read.whole("max_length", 1024) or 1024,
        do_sample=read.flag("do_sample", True),
        temperature=_or(read.number("temperature"), 0.95),
        top_p=_or(read.number("top_p"), 0.7),
        top_k=int(_or(read.whole("top_k"), 50)),
        num_beams=read.whole("eval_num_beams") or read.whole("num_beams", 1) or 1,
        repetition_penalty=_or(read.number("repetition_penalty"), 1.0),
        length_penalty=_or(read.number("length_penalty"), 1.0),
        skip_special_tokens=read.flag("skip_special_tokens", True),
        dtype=dtype,
        split=str(read.values.get("split") or ""),
        engine=read.text("infer_backend", "huggingface"),
        engine_settings={key: value for key, value in engine_settings.items() if value is not None},
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _stage_problem(stage: str) -> str:
    return _WHY_NOT.get(stage) or f'"{stage}" is none of {", ".join(KINDS)}{did_you_mean(stage, KINDS)}'


def _model(read: Reader) -> ModelSpec:
    path = read.text("model_name_or_path", "")
    read.check(bool(path), "model_name_or_path", "is missing: name a folder or a model of the Hugging Face hub")
    attention = read.text("flash_attn", "auto")
    read.check(attention in ATTENTION, "flash_attn", f'"{attention}" is none of {", ".join(ATTENTION)}')
    named = read.text("attn_implementation", "")
    tokens = any(read.values.get(key) for key in ("add_tokens", "add_special_tokens", "new_special_tokens_config"))
    start = read.text("init_special_tokens", "noise_init")
    read.check(start == "noise_init", "init_special_tokens", f"{start} is not offered; new rows start near the mean")
    return ModelSpec(
        path=path,
        revision=read.text("model_revision", "main"),
        cache_dir=read.text("cache_dir", "") or None,
        trust_remote_code=read.flag("trust_remote_code"),
        from_scratch=read.flag("train_from_scratch"),
        attention=ATTENTION.get(named, named) or ATTENTION.get(attention, ""),
        adapters=read.words("adapter_name_or_path"),
        adapter_folder=read.text("adapter_folder", "") or None,
        grow_vocabulary=read.flag("resize_vocab") or tokens,
        rope_scaling=read.text("rope_scaling", "") or None,
        quantization_bit=read.whole("quantization_bit"),
        quantization_method=read.text("quantization_method", "bnb"),
        quantization_type=read.text("quantization_type", "nf4"),
        double_quantization=read.flag("double_quantization", True),
        pure_bf16=read.flag("pure_bf16"),
        upcast_layernorm=read.flag("upcast_layernorm"),
        reference=read.text("ref_model", "") or None,
        reference_adapters=read.words("ref_model_adapters"),
        reference_bit=read.whole("ref_model_quantization_bit"),
    )


def _tuning(read: Reader) -> Tuning:
    kind = read.text("finetuning_type", "lora")
    kinds = ("full", "freeze", "lora", "oft")
    read.check(kind in kinds, "finetuning_type", f'"{kind}" is none of {", ".join(kinds)}{did_you_mean(kind, kinds)}')
    init: str | bool = True
    given = read.values.get("init_lora_weights")
    if isinstance(given, (str, bool)):
        init = given
    if read.flag("pissa_init"):
        steps = read.whole("pissa_iter", 16) or 0
        init = "pissa" if steps < 0 else f"pissa_niter_{steps}"
    return Tuning(
        kind=kind,
        lora_rank=read.whole("lora_rank", 8) or 0,
        lora_alpha=read.whole("lora_alpha"),
        lora_dropout=read.number("lora_dropout", 0.0) or 0.0,
        lora_target=read.words("lora_target") or ("all",),
        lora_init=init,
        use_rslora=read.flag("use_rslora"),
        use_dora=read.flag("use_dora"),
        loraplus_lr_ratio=read.number("loraplus_lr_ratio"),
        loraplus_lr_embedding=read.number("loraplus_lr_embedding", 1e-6) or 0.0,
        oft_rank=read.whole("oft_rank", 0) or 0,
        oft_block_size=read.whole("oft_block_size", 32) or 0,
        oft_target=read.words("oft_target") or ("all",),
        module_dropout=read.number("module_dropout", 0.0) or 0.0,
        additional_target=read.words("additional_target"),
        create_new_adapter=read.flag("create_new_adapter"),
        freeze_layers=read.whole("freeze_trainable_layers", 2) or 0,
        freeze_modules=read.words("freeze_trainable_modules") or ("all",),
        freeze_extra_modules=read.words("freeze_extra_modules"),
    )


def _preference(read: Reader, notes: list[str]) -> Preference:
    loss = read.text("pref_loss", "sigmoid")
    why = "" if loss != "kto_pair" else "; for paired KTO use stage: kto with unpaired records, or pref_loss: apo_zero"
    problem = f'"{loss}" is none of {", ".join(PREFERENCE_LOSSES)}{why or did_you_mean(loss, PREFERENCE_LOSSES)}'
    read.check(loss in PREFERENCE_LOSSES, "pref_loss", problem)
    ftx = read.number("pref_ftx", 0.0) or 0.0
    if not ftx and read.number("kto_ftx", 0.0):
        ftx = read.number("kto_ftx", 0.0) or 0.0
        notes.append(f"kto_ftx is pref_ftx today: {ftx:g}")
    smoothing = read.number("dpo_label_smoothing", 0.0) or 0.0
    if loss == "exo_pair":
        read.check(smoothing > 0, "dpo_label_smoothing", "pref_loss: exo_pair needs it above 0 (its paper: 1e-3)")
    read.check(0 <= smoothing < 0.5, "dpo_label_smoothing", f"{smoothing:g} is not in [0, 0.5)")
    return Preference(
        loss=loss,
        beta=read.number("pref_beta", 0.1) or 0.0,
        label_smoothing=smoothing,
        ftx=ftx,
        bco_weight=read.number("pref_bco_weight", 0.0) or 0.0,
        simpo_gamma=read.number("simpo_gamma", 0.5) or 0.0,
        ld_alpha=read.number("ld_alpha"),
        chosen_weight=read.number("kto_chosen_weight", 1.0) or 0.0,
        rejected_weight=read.number("kto_rejected_weight", 1.0) or 0.0,
        keep_dropout=not read.flag("disable_dropout", True),
        precompute=read.flag("precompute_ref_log_probs"),
    )


def _run(read: Reader) -> RunSpec:
    output = read.text("output_dir", "")
    read.check(bool(output), "output_dir", "is missing: where should the model and its checkpoints go?")
    resume = read.values.get("resume_from_checkpoint")
    if isinstance(resume, str) and resume.strip().lower() in ("true", "last", "false", "none", ""):
        resume = resume.strip().lower() in ("true", "last")
    deepspeed = read.values.get("deepspeed")
    return RunSpec(
        output_dir=output,
        resume="last" if resume is True else str(resume) if resume else None,
        overwrite=read.flag("overwrite_output_dir"),
        plot_loss=read.flag("plot_loss"),
        shuffle=not read.flag("disable_shuffling"),
        early_stopping_steps=read.whole("early_stopping_steps"),
        deepspeed=deepspeed if isinstance(deepspeed, dict) else str(deepspeed) if deepspeed else None,
        do_train=read.flag("do_train", True),
        do_eval=read.flag("do_eval"),
        dft_loss=read.flag("use_dft_loss"),
    )


def _arguments(read: Reader, notes: list[str]) -> dict[str, object]:
    """Every key of the config that JSON can hold; `stages.train.arguments` picks the trainer's own."""
    plain = {key: value for key, value in read.values.items() if _is_plain(value)}
    renamed = {"evaluation_strategy": "eval_strategy", "no_cuda": "use_cpu", "enable_liger_kernel": "use_liger_kernel"}
    for old, new in renamed.items():
        if old in plain and plain.get(new) in (None, "no", False):
            plain[new] = plain[old]
    ratio = read.number("warmup_ratio")
    if ratio and not read.number("warmup_steps"):
        plain["warmup_steps"] = ratio  # transformers 5 reads a value below 1 as a share of all steps
        notes.append(f"warmup_ratio {ratio:g} is given to the trainer as warmup_steps {ratio:g}")
    if read.flag("upcast_lmhead_output"):
        notes.append("upcast_lmhead_output: log-probabilities are computed in float32 in any case")
    if read.text("quantization_device_map", ""):
        notes.append("quantization_device_map has no effect on training: each process keeps its model on its device")
    if read.flag("group_by_length"):
        plain["train_sampling_strategy"] = "group_by_length"
    for name in ("galore", "apollo"):
        if read.flag(f"use_{name}"):
            plain.update(_projected(read, name))
    return plain


def _projected(read: Reader, name: str) -> dict[str, object]:
    """GaLore's and APOLLO's keys as transformers' optimizer and its arguments."""
    rank, scale = read.whole(f"{name}_rank", 16), read.number(f"{name}_scale", 2.0 if name == "galore" else 32.0)
    gap = read.whole(f"{name}_update_interval", 200)
    words = [f"rank={rank}", f"update_proj_gap={gap}", f"scale={scale}"]
    words.append(f"proj_type={read.text(f'{name}_proj_type', 'std')}")
    if name == "apollo":
        words.append(f"proj={read.text('apollo_proj', 'random')}")
        words.append(f"scale_type={read.text('apollo_scale_type', 'channel')}")
    target = read.words(f"{name}_target") or ("all",)
    return {
        "optim": f"{name}_adamw" + ("_layerwise" if read.flag(f"{name}_layerwise") else ""),
        "optim_args": ", ".join(words),
        "optim_target_modules": "all-linear" if "all" in target else list(target),
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bool))


def _cross_checks(read: Reader, job: TrainJob) -> None:
    tuning, model = job.tuning, job.model
    read.check(tuning.lora_rank > 0, "lora_rank", "must be above 0")
    if not tuning.adapter:
        read.check(not model.adapters, "adapter_name_or_path", "needs finetuning_type: lora")
        read.check(model.quantization_bit is None, "quantization_bit", "needs finetuning_type: lora")
    if model.quantization_bit is not None:
        read.check(
            not model.from_scratch, "quantization_bit", "random weights (train_from_scratch) cannot be quantized"
        )
    if tuning.kind == "freeze":
        read.check(tuning.freeze_layers != 0, "freeze_trainable_layers", "must not be 0")
    if job.stage == "kto":
        rows = read.whole("per_device_train_batch_size", 8) or 8
        read.check(
            rows > 1,
            "per_device_train_batch_size",
            "KTO needs at least 2: it measures its KL term by exchanging answers inside a batch",
        )
        read.check(
            not job.preference.precompute,
            "precompute_ref_log_probs",
            "KTO draws its mismatched answers anew each epoch, so nothing can be computed before",
        )
    if read.flag("neat_packing") and job.stage not in ("sft", "pt"):
        read.check(False, "neat_packing", f"stage: {job.stage} trains from single examples")
    if read.flag("load_best_model_at_end") or job.run.early_stopping_steps:
        read.check(
            str(job.arguments.get("eval_strategy", "no")) != "no",
            "eval_strategy",
            "load_best_model_at_end and early_stopping_steps need it (steps or epoch)",
        )
