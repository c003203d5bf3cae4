"""One training run as plain data: what the parent decides, writes to `prep_job.json`, and every worker reads.

    config (LLaMA-Factory's keys) ── job_from_config ──> TrainJob ── to_json ──> prep_job.json ── from_json ──> worker

Nothing here imports torch, so that the command line can plan a launch without it. What is the trainer library's own
business (learning rate, batch sizes, schedules, ...) travels untouched in `arguments` and is sorted out by
`stages.train.arguments`; what prep decides itself has a field.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import UsageFault, did_you_mean

JOB_FILE = "prep_job.json"
JOB_VERSION = 1

# stage -> kind of shards it trains from
KINDS = {"pt": "lm", "sft": "lm", "rm": "pref", "dpo": "pref", "kto": "unpaired"}

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
    "pissa_convert": "keep the PiSSA adapter as it is and merge it with `prep export`",
    "galore_layerwise": "layer-wise GaLore cannot accumulate gradients; leave it out",
}


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and how it is loaded. `attention` is one of `ATTENTION`'s values; "" lets transformers choose."""

    path: str
    revision: str = "main"
    cache_dir: str | None = None
    trust_remote_code: bool = False
    from_scratch: bool = False
    attention: str = ""
    adapters: tuple[str, ...] = ()
    grow_vocabulary: bool = False
    add_tokens: tuple[str, ...] = ()
    add_special_tokens: tuple[str, ...] = ()
    rope_scaling: str | None = None
    quantization_bit: int | None = None
    quantization_method: str = "bnb"
    quantization_type: str = "nf4"
    double_quantization: bool = True
    pure_bf16: bool = False
    upcast_layernorm: bool = False
    reference: str | None = None
    reference_adapters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tuning:
    """Which parameters are trained. `lora_alpha` None is twice the rank; layers count from the end, negative from the
    front."""

    kind: str = "lora"  # "full" | "freeze" | "lora"
    lora_rank: int = 8
    lora_alpha: int | None = None
    lora_dropout: float = 0.0
    lora_target: tuple[str, ...] = ("all",)
    lora_init: str | bool = True
    use_rslora: bool = False
    use_dora: bool = False
    loraplus_lr_ratio: float | None = None
    loraplus_lr_embedding: float = 1e-6
    additional_target: tuple[str, ...] = ()
    create_new_adapter: bool = False
    freeze_layers: int = 2
    freeze_modules: tuple[str, ...] = ("all",)
    freeze_extra_modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preference:
    """The preference losses' constants (dpo, kto, orpo, simpo)."""

    loss: str = "sigmoid"
    beta: float = 0.1
    label_smoothing: float = 0.0
    ftx: float = 0.0
    bco_weight: float = 0.0
    simpo_gamma: float = 0.5
    ld_alpha: float | None = None
    chosen_weight: float = 1.0
    rejected_weight: float = 1.0


@dataclass(frozen=True)
class RunSpec:
    """Where the run writes and how it starts, stops and shows itself. `resume` is a checkpoint folder, "last", or
    None."""

    output_dir: str
    resume: str | None = None
    overwrite: bool = False
    plot_loss: bool = False
    shuffle: bool = True
    early_stopping_steps: int | None = None
    deepspeed: str | dict[str, object] | None = None
    do_train: bool = True
    do_eval: bool = False
    dft_loss: bool = False


@dataclass(frozen=True)
class TrainJob:
    """One run. `data` is the folder `prep pack` wrote; `arguments` are the config's remaining keys, the trainer's own
    among them; `notes` are the sentences to show before the start (what was translated, and from what)."""

    stage: str
    data: str
    model: ModelSpec
    run: RunSpec
    tuning: Tuning = Tuning()
    preference: Preference = Preference()
    arguments: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The adapter module that trains it: sft (pt too), rm, dpo, kto, orpo or simpo."""
        if self.stage == "pt":
            return "sft"
        if self.stage == "dpo" and self.preference.loss in ("orpo", "simpo"):
            return self.preference.loss
        return self.stage


def to_json(job: TrainJob) -> str:
    """The job as the text of `prep_job.json`."""
    body = {"version": JOB_VERSION, **dataclasses.asdict(job)}
    return json.dumps(body, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def from_json(text: str) -> TrainJob:
    """The job that `to_json` wrote. Raises UsageFault when it is of another version."""
    body = json.loads(text)
    if body.pop("version", None) != JOB_VERSION:
        raise UsageFault(f"{JOB_FILE} was written by another version of prep; start again from the config")
    return TrainJob(
        stage=body["stage"],
        data=body["data"],
        model=ModelSpec(**_tuples(body["model"])),
        run=RunSpec(**body["run"]),
        tuning=Tuning(**_tuples(body["tuning"])),
        preference=Preference(**body["preference"]),
        arguments=body["arguments"],
        notes=tuple(body["notes"]),
    )


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:  # JSON border
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def job_from_config(values: Mapping[str, object], data: Path) -> TrainJob:
    """The job that a config asks for. `values` are LLaMA-Factory's keys, missing ones take its defaults; `data` is the
    folder with the packed shards.

    Raises UsageFault with every problem at once: a stage or option this stage does not have, a missing key, a value of
    the wrong type.
    """
    read = _Reader(values)
    stage = read.text("stage", "sft")
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


def _stage_problem(stage: str) -> str:
    return _WHY_NOT.get(stage) or f'"{stage}" is none of {", ".join(KINDS)}{did_you_mean(stage, KINDS)}'


def _model(read: _Reader) -> ModelSpec:
    path = read.text("model_name_or_path", "")
    read.check(bool(path), "model_name_or_path", "is missing: name a folder or a model of the Hugging Face hub")
    attention = read.text("attn_implementation", "") or read.text("flash_attn", "auto")
    read.check(attention in ATTENTION, "flash_attn", f'"{attention}" is none of {", ".join(ATTENTION)}')
    special = read.words("new_special_tokens") or read.words("add_special_tokens")
    return ModelSpec(
        path=path,
        revision=read.text("model_revision", "main"),
        cache_dir=read.text("cache_dir", "") or None,
        trust_remote_code=read.flag("trust_remote_code"),
        from_scratch=read.flag("train_from_scratch"),
        attention=ATTENTION.get(attention, ""),
        adapters=read.words("adapter_name_or_path"),
        grow_vocabulary=read.flag("resize_vocab") or bool(special) or bool(read.words("add_tokens")),
        add_tokens=read.words("add_tokens"),
        add_special_tokens=special,
        rope_scaling=read.text("rope_scaling", "") or None,
        quantization_bit=read.whole("quantization_bit"),
        quantization_method=read.text("quantization_method", "bnb"),
        quantization_type=read.text("quantization_type", "nf4"),
        double_quantization=read.flag("double_quantization", True),
        pure_bf16=read.flag("pure_bf16"),
        upcast_layernorm=read.flag("upcast_layernorm"),
        reference=read.text("ref_model", "") or None,
        reference_adapters=read.words("ref_model_adapters"),
    )


def _tuning(read: _Reader) -> Tuning:
    kind = read.text("finetuning_type", "lora")
    kinds = ("full", "freeze", "lora")
    why = "OFT is not offered; lora with use_dora is the nearest" if kind == "oft" else did_you_mean(kind, kinds)
    read.check(kind in kinds, "finetuning_type", f'"{kind}" is none of {", ".join(kinds)}. {why}'.strip())
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
        additional_target=read.words("additional_target"),
        create_new_adapter=read.flag("create_new_adapter"),
        freeze_layers=read.whole("freeze_trainable_layers", 2) or 0,
        freeze_modules=read.words("freeze_trainable_modules") or ("all",),
        freeze_extra_modules=read.words("freeze_extra_modules"),
    )


def _preference(read: _Reader, notes: list[str]) -> Preference:
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
    )


def _run(read: _Reader) -> RunSpec:
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


def _arguments(read: _Reader, notes: list[str]) -> dict[str, object]:
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
    if read.flag("group_by_length"):
        plain["train_sampling_strategy"] = "group_by_length"
    if read.flag("use_galore"):
        plain["optim"] = "galore_adamw"
        plain.setdefault("optim_target_modules", "all-linear")
        rank, scale = read.whole("galore_rank", 16), read.number("galore_scale", 2.0)
        plain["optim_args"] = f"rank={rank}, update_proj_gap={read.whole('galore_update_interval', 200)}, scale={scale}"
    if read.flag("use_apollo"):
        plain["optim"] = "apollo_adamw"
        plain.setdefault("optim_target_modules", "all-linear")
        rank, scale = read.whole("apollo_rank", 16), read.number("apollo_scale", 32.0)
        kind = read.text("apollo_scale_type", "channel")
        plain["optim_args"] = f"rank={rank}, scale_type={kind}, scale={scale}"
    return plain


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bool))


def _cross_checks(read: _Reader, job: TrainJob) -> None:
    tuning, model = job.tuning, job.model
    read.check(tuning.lora_rank > 0, "lora_rank", "must be above 0")
    if tuning.kind != "lora":
        read.check(not model.adapters, "adapter_name_or_path", "needs finetuning_type: lora")
        read.check(model.quantization_bit is None, "quantization_bit", "needs finetuning_type: lora")
    if tuning.kind == "freeze":
        read.check(tuning.freeze_layers != 0, "freeze_trainable_layers", "must not be 0")
    if job.stage == "kto":
        rows = read.whole("per_device_train_batch_size", 8) or 8
        read.check(
            rows > 1,
            "per_device_train_batch_size",
            "KTO needs at least 2: it measures its KL term by exchanging answers inside a batch",
        )
    if read.flag("neat_packing") and job.stage not in ("sft", "pt"):
        read.check(False, "neat_packing", f"stage: {job.stage} trains from single examples")
    if read.flag("load_best_model_at_end") or job.run.early_stopping_steps:
        read.check(
            str(job.arguments.get("eval_strategy", "no")) != "no",
            "eval_strategy",
            "load_best_model_at_end and early_stopping_steps need it (steps or epoch)",
        )


class _Reader:
    """Typed access to a config that collects the problems instead of stopping at the first."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values
        self.problems: list[str] = []

    def check(self, holds: bool, key: str, problem: str) -> None:
        if not holds:
            self.problems.append(f"{key}: {problem}")

    def text(self, key: str, default: str) -> str:
        value = self.values.get(key)
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return "true" if value else default
        return str(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.values.get(key)
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        self.check(word in _WORDS, key, f'"{value}" is neither true nor false')
        return _WORDS.get(word, default)

    def whole(self, key: str, default: int | None = None) -> int | None:
        number = self.number(key, default)
        if number is None:
            return None
        self.check(float(number).is_integer(), key, f"{number:g} is not a whole number")
        return int(number)

    def number(self, key: str, default: float | None = None) -> float | None:
        value = self.values.get(key)
        if value is None or value == "":
            return default
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(str(value))
        except ValueError:
            self.check(False, key, f'"{value}" is not a number')
            return default

    def words(self, key: str) -> tuple[str, ...]:
        """A comma list, or a YAML list, as a tuple."""
        value = self.values.get(key)
        if value is None:
            return ()
        items = value if isinstance(value, (list, tuple)) else str(value).split(",")
        return tuple(word for word in (str(item).strip() for item in items) if word)


_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
