"""The settings of a run, coerced once: one frozen group a section of keys.yaml, one typed field a key.

    config.encode.cutoff_len   an int: its default stands in keys.yaml, and nowhere else
    config.data.max_samples    int | None: None means something (every record), so the key has no default

Only keys that preparing data reads are here; what is handed on to training stays in `Config.values`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

AUTO = "auto"  # the tokenizer's own template; the format that the records show


@dataclass(frozen=True)
class DataConfig:
    """Which records, and how strictly they are checked."""

    group: ClassVar[str] = "data"
    dataset: tuple[str, ...]
    eval_dataset: tuple[str, ...]
    dataset_dir: str
    format: str
    max_samples: int | None
    rules: Mapping[str, str]
    strict: bool
    max_rejected: int | float
    profile: str | None


@dataclass(frozen=True)
class EncodeConfig:
    """What becomes of a record's text: template, tokens, labels, the length limit."""

    group: ClassVar[str] = "encode"
    stage: str
    template: str | None
    cutoff_len: int
    overlong: str
    train_on_prompt: bool
    mask_history: bool
    default_system: str | None
    tool_format: str | None
    enable_thinking: bool | None
    preserve_thinking: bool
    compat: str
    template_date: str
    split_special_tokens: bool
    add_tokens: tuple[str, ...]
    add_special_tokens: tuple[str, ...]
    new_special_tokens_config: str | None

    @property
    def template_name(self) -> str:
        """The template to render with; without one, the tokenizer's own."""
        return self.template if self.template else AUTO


@dataclass(frozen=True)
class MixConfig:
    """Which records of which data set, in what order, and what validates. No `interleave_probs`: in turn."""

    group: ClassVar[str] = "mix"
    mix_strategy: str
    interleave_probs: tuple[float, ...]
    shuffle: bool
    val_size: float
    eval_on_each_dataset: bool
    seed: int


@dataclass(frozen=True)
class PackConfig:
    """How examples become rows, and where the rows go."""

    group: ClassVar[str] = "pack"
    packing: bool
    packing_strategy: str
    tokenized_path: str | None
    shard_size: int


@dataclass(frozen=True)
class ModelConfig:
    """Whose tokenizer it is."""

    group: ClassVar[str] = "model"
    model_name_or_path: str | None
    model_revision: str


@dataclass(frozen=True)
class TrainConfig:
    """What of training decides about the data."""

    group: ClassVar[str] = "train"
    do_train: bool
    do_eval: bool
    do_predict: bool
    output_dir: str
    pref_loss: str
    eval_strategy: str


@dataclass(frozen=True)
class ExportConfig:
    """Where an exported model goes."""

    group: ClassVar[str] = "export"
    export_dir: str | None
    export_size: int
    export_device: str
    export_hub_model_id: str | None


@dataclass(frozen=True)
class RunConfig:
    """What does the work."""

    group: ClassVar[str] = "run"
    workers: int | None
    preprocessing_num_workers: int | None
    memory_limit: int | None
    engine: str
    ray_address: str | None
    cache: bool


Group = TypeVar(
    "Group", DataConfig, EncodeConfig, MixConfig, PackConfig, ModelConfig, TrainConfig, ExportConfig, RunConfig
)


def grouped(group: type[Group], values: Mapping[str, object]) -> Group:
    """One group of the values of a configuration, which are of their keys' types already."""
    typed: dict[str, Any] = {item.name: _frozen(values[item.name], str(item.type)) for item in fields(group)}
    return group(**typed)


def _frozen(value: object, annotation: str) -> object:
    """Lists as tuples; a list that was not given is an empty one."""
    if annotation.startswith("tuple"):
        return tuple(value) if isinstance(value, (list, tuple)) else ()
    if isinstance(value, dict):
        return {str(name): str(item) for name, item in value.items()}
    return value
