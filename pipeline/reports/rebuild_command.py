"""Recipe: the command that makes an output again, from its manifest."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from pipeline.config.keys import keys

ALWAYS = ("stage", "template", "cutoff_len")


def rebuild_command(manifest: Mapping[str, Any], *, portable: bool = False) -> str:
    """`prep pack ...` with every setting that the rows depend on.

    portable: without the folders of this machine (`run` block), so that the text is the same wherever it is made.
    """
    recipe, options, run = manifest.get("recipe", {}), manifest["options"], manifest.get("run", {})
    words = ["prep", "pack"]
    for name in ("dataset", "eval_dataset"):
        if recipe.get(name):
            words.append(f"{name}={_text(recipe[name])}")
    for name in ("dataset_dir", "format"):
        if recipe.get(name) and recipe[name] != "auto":
            words.append(f"{name}={recipe[name]}")
    model = None if portable else run.get("model_name_or_path")
    words.append(f"model_name_or_path={model or 'DIR'}")
    table = keys()
    for name, value in options.items():
        if name in ALWAYS or value is None or (name in table and _same(value, table[name].default)):
            continue
        words.append(f"{name}={_text(value)}")
    words[2:2] = [f"{name}={_text(options[name])}" for name in ALWAYS if options.get(name) is not None]
    return " ".join(shlex.quote(word) for word in [*words, "-o", "OUT"])


def _same(value: object, default: object) -> bool:
    return value == default or (not value and not default)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_text(item)}" for name, item in value.items()) + "}"
    return str(value)
