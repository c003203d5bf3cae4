"""Which template fits a model, by the model's name or the `model_type` of its config.json (models.yaml).

A suggestion only: a base model can be trained with any template, and a fine-tune may have used another one than its
name says.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import yaml


@dataclass(frozen=True)
class Model:
    """One family: a row of models.yaml. `types` are values of config.json's model_type."""

    family: str
    pattern: re.Pattern[str]
    template: str
    types: tuple[str, ...]
    example: str


@functools.cache
def all_models() -> tuple[Model, ...]:
    """Every family, in the order in which names are tried."""
    loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # some builds have no C loader
    text = (resources.files(__package__) / "models.yaml").read_text(encoding="utf-8")
    rows = yaml.load(text, Loader=loader)  # noqa: S506 - the C form of the safe loader
    return tuple(
        Model(
            family=str(row["family"]),
            pattern=re.compile(r"(?<![a-z0-9])(?:" + row["match"] + ")"),
            template=str(row["template"]),
            types=tuple(row.get("type", ())),
            example=str(row["example"]),
        )
        for row in rows
    )


def suggest(model_name_or_path: str | None, config_json: Mapping[str, object] | None = None) -> str | None:
    """The template's name, None when nothing is known.

    A hub name or a folder is read from its last part to its first (`Qwen3-8B/checkpoint-500` finds Qwen3); then the
    name the configuration remembers; then its `model_type`.
    """
    names = [model_name_or_path or ""]
    remembered = (config_json or {}).get("_name_or_path")
    if isinstance(remembered, str):
        names.append(remembered)
    for name in names:
        for part in reversed(re.split(r"[/\\]", name.lower())):
            for model in all_models() if part else ():
                if model.pattern.search(part):
                    return model.template
    kind = (config_json or {}).get("model_type")
    return next((model.template for model in all_models() if kind in model.types), None) if kind else None
