"""The keys of a configuration that a job carries for its trainer, with what stands for GaLore and APOLLO."""

from __future__ import annotations

from collections.abc import Mapping

from .settings import Settings

# where prep's default is not LLaMA-Factory's: its filled-in value is not taken for the user's wish
_OURS = frozenset({"logging_steps", "logging_nan_inf_filter", "use_reentrant_gc", "disable_tqdm"})


def job_arguments(settings: Settings, notes: list[str]) -> dict[str, object]:
    """Every key that JSON can hold, secrets apart; `stages.train.trainer_args` picks the trainer's own.

    notes: takes one line for each key that has no effect.
    """
    config = settings.config
    plain = {
        key: value
        for key, value in config.public().items()
        if (key in config.given or key not in _OURS) and _is_plain(value)
    }
    if settings.flag("enable_liger_kernel"):
        plain["use_liger_kernel"] = True
    if settings.flag("upcast_lmhead_output"):
        notes.append("upcast_lmhead_output: log-probabilities are computed in float32 in any case")
    if settings.optional("quantization_device_map"):
        notes.append("quantization_device_map has no effect on training: each process keeps its model on its device")
    for name in ("galore", "apollo"):
        if settings.flag(f"use_{name}"):
            plain.update(_projected(settings, name))
    return plain


def _projected(settings: Settings, name: str) -> dict[str, object]:
    """GaLore's and APOLLO's keys as transformers' optimizer and its arguments."""
    words = [
        f"rank={settings.whole(f'{name}_rank')}",
        f"update_proj_gap={settings.whole(f'{name}_update_interval')}",
        f"scale={settings.number(f'{name}_scale')}",
        f"proj_type={settings.text(f'{name}_proj_type')}",
    ]
    if name == "apollo":
        words.append(f"proj={settings.text('apollo_proj')}")
        words.append(f"scale_type={settings.text('apollo_scale_type')}")
    target = settings.modules(f"{name}_target")
    return {
        "optim": f"{name}_adamw" + ("_layerwise" if settings.flag(f"{name}_layerwise") else ""),
        "optim_args": ", ".join(words),
        "optim_target_modules": "all-linear" if "all" in target else list(target),
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float, bool))
