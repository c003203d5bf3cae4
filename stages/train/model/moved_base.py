"""Adapters whose start takes something out of the base weights: PiSSA, OLoRA, CorDA.

    published W = residual + A0 B0        training moves A0 B0 to A B
    ordinary LoRA of the same model       W + [A | A0] [B | -B0], twice the rank

Every folder that is saved holds the ordinary LoRA, which fits the model as it was published; a checkpoint keeps the
trained pair beside it (`RAW_FOLDER`), and the run's folder the start (`START_FOLDER`).
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

from registry.errors import UsageFault
from stages.train.job import Tuning

START_FOLDER = "adapter_start"
RAW_FOLDER = "adapter_raw"
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def moves_base(tuning: Tuning) -> bool:
    """Whether the adapter's start takes something out of the base weights."""
    return tuning.kind == "lora" and str(tuning.lora_init).startswith(("pissa", "olora", "corda"))


def keep_start(model: Any, folder: Path) -> None:
    """Save the adapter of such a model as it is before the first step."""
    settings = model.peft_config["default"]
    method, settings.init_lora_weights = settings.init_lora_weights, True  # or loading it would decompose once more
    model.save_pretrained(str(folder))
    settings.init_lora_weights = method


def check_start_kept(fresh: Path, checkpoint: Path) -> None:
    """Compare this run's start with that of the checkpoint it goes on from.

    Raises UsageFault when they differ: the checkpoint's pair would be put onto another residual.
    """
    from safetensors.torch import load_file

    kept = checkpoint / RAW_FOLDER / START_FOLDER / _WEIGHTS
    if not kept.is_file():
        return
    old, new = load_file(kept), load_file(fresh / _WEIGHTS)
    same = old.keys() == new.keys() and all(old[name].shape == new[name].shape for name in old)
    if not same or max(float((old[name] - new[name]).abs().max()) for name in old) > 1e-4:
        raise UsageFault(
            f"resume_from_checkpoint: {checkpoint}: init_lora_weights decomposes the base weights otherwise than it "
            "did for the checkpoint, so its adapter does not fit them",
            hint="resume with the same seed, lora_rank, lora_target and model, on the same kind of machine",
        )


def make_ordinary(folder: Path, start: Path) -> None:
    """Turn a saved adapter into the ordinary LoRA of the same model.

    Args:
        folder: Holds the adapter as trained, which goes to `RAW_FOLDER` in it, with a copy of the start.
        start: What `keep_start` saved.
    """
    from safetensors.torch import load_file, save_file

    raw = folder / RAW_FOLDER
    raw.mkdir(exist_ok=True)
    for name in (_WEIGHTS, _CONFIG):
        (folder / name).replace(raw / name)
    shutil.copytree(start, raw / START_FOLDER, dirs_exist_ok=True)
    trained, first = load_file(raw / _WEIGHTS), load_file(start / _WEIGHTS)
    save_file({name: _beside(name, trained, first) for name in trained}, folder / _WEIGHTS, metadata={"format": "pt"})
    config = json.loads((raw / _CONFIG).read_text("utf-8"))
    config["init_lora_weights"] = True
    config["r"] *= 2
    config["lora_alpha"] *= math.sqrt(2) if config.get("use_rslora") else 2  # the scaling stays what it was
    (folder / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _beside(name: str, trained: dict[str, Any], first: dict[str, Any]) -> Any:
    import torch

    if "lora_A" in name:  # rank x in
        return torch.cat([trained[name], first[name].to(trained[name].dtype)], dim=0)
    if "lora_B" in name:  # out x rank
        return torch.cat([trained[name], -first[name].to(trained[name].dtype)], dim=1)
    return trained[name].contiguous()
