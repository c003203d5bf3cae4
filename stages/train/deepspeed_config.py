"""DeepSpeed's JSON file, from a short name, a path, or a mapping.

    deepspeed: z2                      ours, shipped beside this module
    deepspeed: path/to/ds_config.json  the user's, as it is
    deepspeed: examples/deepspeed/ds_z2_config.json  LLaMA-Factory's name without its file: ours of the same kind

Ours differ from LLaMA-Factory's in one value: `round_robin_gradients` is false, because a ZeRO-2 checkpoint written
with it cannot be converted to another number of processes (it loads wrong weights without a word).
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from registry.errors import UsageFault, did_you_mean

NAMES = ("z0", "z1", "z2", "z2_offload", "z3", "z3_offload")


def deepspeed_config(given: str | dict[str, object] | None, notes: list[str]) -> dict[str, Any] | None:
    """The configuration as a mapping, None when DeepSpeed is not asked for. Raises UsageFault when it is not found or
    is no JSON object."""
    if given is None or isinstance(given, dict):
        return given
    if given in NAMES:
        return _shipped(given)
    path = Path(given)
    if not path.is_file():
        match = re.fullmatch(r"ds_(z0|z2|z3)(_offload)?_config\.json", path.name)
        name = "".join(part or "" for part in match.groups()) if match else ""
        if name not in NAMES:
            raise UsageFault(f"deepspeed: no file {given}{did_you_mean(given, NAMES)}; ours are {', '.join(NAMES)}")
        notes.append(f"deepspeed: {given} is not here, our own {name} is used")
        return _shipped(name)
    try:
        body = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise UsageFault(f"deepspeed: {given} cannot be read: {error}") from None
    if not isinstance(body, dict):
        raise UsageFault(f"deepspeed: {given} is not a JSON object")
    return body


def zero_stage(config: dict[str, Any] | None) -> int:
    """The ZeRO stage of a configuration, 0 when there is none."""
    return int((config or {}).get("zero_optimization", {}).get("stage", 0))


def _shipped(name: str) -> dict[str, Any]:
    text = resources.files("stages.train").joinpath("deepspeed", f"{name}.json").read_text("utf-8")
    return dict(json.loads(text))
