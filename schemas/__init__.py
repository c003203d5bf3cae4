"""The published contracts: JSON Schema 2020-12 files and their loader.

    schemas/<name>.json     one file a contract: record formats, dataset_info.json, config, manifest, report

Nothing refers outside its own file, so no schema ever needs a network. Our annotations, which other readers ignore:
x-field: the name in a column or tag map that says which key this is. x-tags: role word -> tag of the map.
x-rule: keyword (or keyword:detail) -> id of the rule that a breach of it is. x-optional-in: kinds of example in which
the field may be missing or null.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any


def names() -> tuple[str, ...]:
    """Names of all schemas, sorted."""
    return tuple(
        sorted(entry.name[:-5] for entry in resources.files(__package__).iterdir() if entry.name.endswith(".json"))
    )


def text(name: str) -> str:
    """The file as published. Raises KeyError when there is no such schema."""
    entry = resources.files(__package__) / f"{name}.json"
    if "/" in name or "\\" in name or not entry.is_file():
        raise KeyError(name)
    return entry.read_text(encoding="utf-8")


@functools.cache
def load(name: str) -> dict[str, Any]:
    """The schema as a dict, shared by all callers: do not change it. Raises KeyError when there is no such schema."""
    schema: dict[str, Any] = json.loads(text(name))
    return schema
