"""One training run as plain data: what the parent decides, writes to `prep_job.json`, and every worker reads.

    config (LLaMA-Factory's keys) ── job_from_config ──> TrainJob ── to_json ──> prep_job.json ── from_json ──> worker

Nothing here imports torch, so that the command line can plan a launch without it. What is the trainer library's own
business (learning rate, batch sizes, schedules, ...) travels untouched in `arguments` and is sorted out by
`stages.train.trainer_args`; what prep decides itself has a field.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from registry.errors import UsageFault
from registry.kinds import trained_stages

JOB_FILE = "prep_job.json"
JOB_VERSION = 1

KINDS = trained_stages()  # stage -> kind of shards it trains from


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and how it is loaded. `attention` is transformers' name of a back end; "" lets it choose."""

    path: str
    revision: str = "main"
    cache_dir: str | None = None
    trust_remote_code: bool = False
    from_scratch: bool = False
    allow_other_tokenizer: bool = False
    attention: str = ""
    adapters: tuple[str, ...] = ()
    adapter_folder: str | None = None
    grow_vocabulary: bool = False
    rope_scaling: str | None = None
    quantization_bit: int | None = None
    quantization_method: str = "bnb"
    quantization_type: str = "nf4"
    double_quantization: bool = True
    pure_bf16: bool = False
    upcast_layernorm: bool = False
    reference: str | None = None
    reference_adapters: tuple[str, ...] = ()
    reference_bit: int | None = None


@dataclass(frozen=True)
class Tuning:
    """Which parameters are trained. `lora_alpha` None is twice the rank; layers count from the end, negative from the
    front."""

    kind: str = "lora"  # "full" | "freeze" | "lora" | "oft"
    lora_rank: int = 8
    lora_alpha: int | None = None
    lora_dropout: float = 0.0
    lora_target: tuple[str, ...] = ("all",)
    lora_init: str | bool = True
    use_rslora: bool = False
    use_dora: bool = False
    loraplus_lr_ratio: float | None = None
    loraplus_lr_embedding: float = 1e-6
    oft_rank: int = 0
    oft_block_size: int = 32
    oft_target: tuple[str, ...] = ("all",)
    module_dropout: float = 0.0
    additional_target: tuple[str, ...] = ()
    create_new_adapter: bool = False
    freeze_layers: int = 2
    freeze_modules: tuple[str, ...] = ("all",)
    freeze_extra_modules: tuple[str, ...] = ()

    @property
    def adapter(self) -> bool:
        """Whether an adapter is trained beside frozen weights."""
        return self.kind in ("lora", "oft")


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
    keep_dropout: bool = False
    precompute: bool = False


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
class Generation:
    """How answers are drawn. max_new_tokens 0: `max_length` bounds prompt and answer together. dtype: torch's name or
    "auto". split: one separator a level, "" for none; engine: huggingface or vllm, with its own settings."""

    max_new_tokens: int = 1024
    max_length: int = 1024
    do_sample: bool = True
    temperature: float = 0.95
    top_p: float = 0.7
    top_k: int = 50
    num_beams: int = 1
    repetition_penalty: float = 1.0
    length_penalty: float = 1.0
    skip_special_tokens: bool = True
    dtype: str = "auto"
    split: str = ""
    engine: str = "huggingface"
    engine_settings: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainJob:
    """One run. `data` is the folder `prep pack` wrote; `arguments` are the config's remaining keys, the trainer's own
    among them; `notes` are the sentences to show before the start (what was translated, and from what); `task` is train
    or predict."""

    stage: str
    data: str
    model: ModelSpec
    run: RunSpec
    tuning: Tuning = Tuning()
    preference: Preference = Preference()
    arguments: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    task: str = "train"
    generation: Generation = Generation()

    @property
    def method(self) -> str:
        """The adapter module that trains it: sft (pt too), rm, dpo, kto, orpo or simpo."""
        if self.stage == "pt":
            return "sft"
        if self.stage == "dpo" and self.preference.loss in ("orpo", "simpo"):
            return self.preference.loss
        return self.stage

    @property
    def language_loss(self) -> bool:
        """Whether the loss is the mean of -log p, whose exponential is a perplexity."""
        return self.method == "sft" and not self.run.dft_loss

    def flag(self, key: str) -> bool:
        """Whether a switch among the arguments is on."""
        return bool(self.arguments.get(key))

    def whole(self, key: str) -> int:
        """A whole number among the arguments."""
        value = self.arguments[key]
        assert isinstance(value, int), key
        return value


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
        task=body["task"],
        generation=Generation(**body["generation"]),
    )


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:  # JSON border
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
