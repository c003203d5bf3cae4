"""A configuration as a `TrainJob`. Types, defaults and contradictions are the configuration's business; what remains is
what each setting means to the training stage, and what that stage cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.config import Config
from registry.errors import UsageFault
from registry.kinds import dpo_losses
from stages.train.job import KINDS, Generation, ModelSpec, Preference, RunSpec, TrainJob, Tuning

from .arguments import job_arguments
from .settings import Settings

_ATTENTION = {
    "auto": "",
    "disabled": "eager",
    "fa2": "flash_attention_2",
    "fa3": "flash_attention_3",
}  # others are called the same by transformers
_ANSWER = ("pt", "sft", "dpo", "kto", "orpo", "simpo")  # stages whose models answer a prompt
_TRUE_OR_LAST, _NO_CHECKPOINT = ("true", "last"), ("", "false", "none")


def job_from_config(config: Config, data: Path) -> TrainJob:
    """The job that a configuration describes.

    Args:
        config: As loaded for `train`, which refuses what contradicts itself.
        data: Folder of the packed shards.

    Raises:
        UsageFault: With every unsupported option.
    """
    settings = Settings(config)
    notes: list[str] = []
    stage = settings.text("stage")
    job = TrainJob(
        stage="dpo" if stage in dpo_losses() else stage,  # the configuration has made the stage the loss
        data=str(data),
        model=_model(settings),
        run=_run(settings),
        tuning=_tuning(settings),
        preference=_preference(settings),
        arguments=job_arguments(settings, notes),
        notes=tuple(notes),
    )
    settings.check(job.stage in KINDS, "stage", f"{stage} cannot be trained here")
    _check(settings, job)
    if settings.problems:
        raise UsageFault(settings.problems)
    return job


def predict_job_from_config(config: Config, data: Path) -> TrainJob:
    """The prediction that a configuration describes.

    Args:
        config: As loaded for `predict` or `export`.
        data: Folder of the prompts.

    Raises:
        UsageFault: With every unsupported option.
    """
    settings = Settings(config)
    stage = settings.text("stage")
    settings.check(stage in _ANSWER, "stage", f"a model of stage {stage} does not answer")
    job = TrainJob(
        stage="sft",
        data=str(data),
        model=_model(settings),
        run=_run(settings),
        arguments=job_arguments(settings, []),
        task="predict",
        generation=_generation(settings),
    )
    if settings.problems:
        raise UsageFault(settings.problems)
    return job


def _generation(settings: Settings) -> Generation:
    config = settings.config
    further = config.get("vllm_config")
    engine_settings = {
        **(further if isinstance(further, Mapping) else {}),
        **{name: config.get(f"vllm_{name}") for name in ("maxlen", "gpu_util", "enforce_eager", "max_lora_rank")},
    }
    beams = config.whole("eval_num_beams")
    split = settings.optional("split")
    return Generation(
        max_new_tokens=settings.whole("max_new_tokens"),
        max_length=settings.whole("max_length"),
        do_sample=settings.flag("do_sample"),
        temperature=settings.number("temperature"),
        top_p=settings.number("top_p"),
        top_k=settings.whole("top_k"),
        num_beams=settings.whole("num_beams") if beams is None else beams,
        repetition_penalty=settings.number("repetition_penalty"),
        length_penalty=settings.number("length_penalty"),
        skip_special_tokens=settings.flag("skip_special_tokens"),
        dtype=settings.text("infer_dtype"),
        split="" if split is None else split,
        engine=settings.text("infer_backend"),
        engine_settings={str(key): value for key, value in engine_settings.items() if value is not None},
    )


def _model(settings: Settings) -> ModelSpec:
    path = settings.optional("model_name_or_path")
    settings.check(
        path is not None, "model_name_or_path", "is missing: name a folder or a model of the Hugging Face hub"
    )
    named = settings.optional("attn_implementation")
    attention = settings.text("flash_attn") if named is None else named
    start = settings.text("init_special_tokens")
    problem = f"{start} is not offered; new rows start near the mean"
    settings.check(start == "noise_init", "init_special_tokens", problem)
    added = ("add_tokens", "add_special_tokens", "new_special_tokens_config")
    return ModelSpec(
        path="" if path is None else path,
        revision=settings.text("model_revision"),
        cache_dir=settings.optional("cache_dir"),
        trust_remote_code=settings.flag("trust_remote_code"),
        from_scratch=settings.flag("train_from_scratch"),
        allow_other_tokenizer=settings.flag("allow_other_tokenizer"),
        attention=_ATTENTION.get(attention, attention),
        adapters=settings.words("adapter_name_or_path"),
        adapter_folder=settings.optional("adapter_folder"),
        grow_vocabulary=settings.flag("resize_vocab") or any(settings.config.get(key) for key in added),
        rope_scaling=settings.optional("rope_scaling"),
        quantization_bit=settings.config.whole("quantization_bit"),
        quantization_method=settings.text("quantization_method"),
        quantization_type=settings.text("quantization_type"),
        double_quantization=settings.flag("double_quantization"),
        pure_bf16=settings.flag("pure_bf16"),
        upcast_layernorm=settings.flag("upcast_layernorm"),
        reference=settings.optional("ref_model"),
        reference_adapters=settings.words("ref_model_adapters"),
        reference_bit=settings.config.whole("ref_model_quantization_bit"),
    )


def _tuning(settings: Settings) -> Tuning:
    init = settings.config.get("init_lora_weights")
    assert isinstance(init, (str, bool))
    if settings.flag("pissa_init"):
        steps = settings.whole("pissa_iter")
        init = "pissa" if steps < 0 else f"pissa_niter_{steps}"
    return Tuning(
        kind=settings.text("finetuning_type"),
        lora_rank=settings.whole("lora_rank"),
        lora_alpha=settings.config.whole("lora_alpha"),
        lora_dropout=settings.number("lora_dropout"),
        lora_target=settings.modules("lora_target"),
        lora_init=init,
        use_rslora=settings.flag("use_rslora"),
        use_dora=settings.flag("use_dora"),
        loraplus_lr_ratio=settings.config.number("loraplus_lr_ratio"),
        loraplus_lr_embedding=settings.number("loraplus_lr_embedding"),
        oft_rank=settings.whole("oft_rank"),
        oft_block_size=settings.whole("oft_block_size"),
        oft_target=settings.modules("oft_target"),
        module_dropout=settings.number("module_dropout"),
        additional_target=settings.words("additional_target"),
        create_new_adapter=settings.flag("create_new_adapter"),
        freeze_layers=settings.whole("freeze_trainable_layers"),
        freeze_modules=settings.modules("freeze_trainable_modules"),
        freeze_extra_modules=settings.words("freeze_extra_modules"),
    )


def _preference(settings: Settings) -> Preference:
    loss, smoothing = settings.text("pref_loss"), settings.number("dpo_label_smoothing")
    if loss == "exo_pair":
        settings.check(smoothing > 0, "dpo_label_smoothing", "pref_loss: exo_pair needs it above 0 (its paper: 1e-3)")
    settings.check(smoothing < 0.5, "dpo_label_smoothing", f"{smoothing:g} is not in [0, 0.5)")
    return Preference(
        loss=loss,
        beta=settings.number("pref_beta"),
        label_smoothing=smoothing,
        ftx=settings.number("pref_ftx"),
        bco_weight=settings.number("pref_bco_weight"),
        simpo_gamma=settings.number("simpo_gamma"),
        ld_alpha=settings.config.number("ld_alpha"),
        chosen_weight=settings.number("kto_chosen_weight"),
        rejected_weight=settings.number("kto_rejected_weight"),
        keep_dropout=not settings.flag("disable_dropout"),
        precompute=settings.flag("precompute_ref_log_probs"),
    )


def _run(settings: Settings) -> RunSpec:
    output = settings.text("output_dir")
    settings.check(bool(output), "output_dir", "is missing: where should the model and its checkpoints go?")
    deepspeed = settings.config.get("deepspeed")
    return RunSpec(
        output_dir=output,
        resume=_resume(settings.config.get("resume_from_checkpoint")),
        overwrite=settings.flag("overwrite_output_dir"),
        plot_loss=settings.flag("plot_loss"),
        shuffle=not settings.flag("disable_shuffling"),
        early_stopping_steps=settings.config.whole("early_stopping_steps"),
        deepspeed=deepspeed if isinstance(deepspeed, dict) else settings.optional("deepspeed"),
        do_train=settings.flag("do_train"),
        do_eval=settings.flag("do_eval"),
        dft_loss=settings.flag("use_dft_loss"),
    )


def _resume(value: object) -> str | None:
    """A checkpoint folder, "last", or None."""
    word = str(value).strip()
    if value is None or word.lower() in _NO_CHECKPOINT:
        return None
    return "last" if word.lower() in _TRUE_OR_LAST else word


def _check(settings: Settings, job: TrainJob) -> None:
    """Notes the combinations that the training stage cannot do."""
    if job.model.quantization_bit is not None:
        settings.check(
            not job.model.from_scratch, "quantization_bit", "random weights (train_from_scratch) cannot be quantized"
        )
    if job.tuning.kind == "freeze":
        settings.check(job.tuning.freeze_layers != 0, "freeze_trainable_layers", "must not be 0")
    if job.stage == "kto":
        settings.check(
            settings.whole("per_device_train_batch_size") > 1,
            "per_device_train_batch_size",
            "KTO needs at least 2: it measures its KL term by exchanging answers inside a batch",
        )
        settings.check(
            not job.preference.precompute,
            "precompute_ref_log_probs",
            "KTO draws its mismatched answers anew each epoch, so nothing can be computed before",
        )
    if settings.flag("load_best_model_at_end") or job.run.early_stopping_steps:
        settings.check(
            settings.text("eval_strategy") != "no",
            "eval_strategy",
            "load_best_model_at_end and early_stopping_steps need it (steps or epoch)",
        )
