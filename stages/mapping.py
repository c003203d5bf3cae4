"""Column maps: does a map name what its format cannot do without?"""

from __future__ import annotations

from registry.datasets import Fields

from .findings import Note
from .formats import FORMATS


def mapping_problems(format_id: str, fields: Fields, kind: str) -> list[Note]:
    """Why no record of this format can be read under this map; empty when records can be.

    A missing prompt of an alpaca data set is no such reason: LLaMA-Factory trains it with empty prompts, so it is told
    by what the records then show (prompt.empty, mapping.empty-field).
    """
    needed = _needed(FORMATS[format_id].family, kind)
    missing = [name for name in needed if getattr(fields, name) is None]
    columns = [name for name in missing if not name.endswith("_tag") or name == "kto_tag"]
    tags = [name for name in missing if name not in columns]
    notes = []
    for block, names in (("columns", columns), ("tags", tags)):
        if names:
            text = f"`{block}` leaves out {', '.join(names)}, without which no record can be read"
            hint = f"once `{block}` is given, every name left out of it is unmapped: add {', '.join(names)}"
            notes.append(Note("mapping.incomplete", "", text, "", hint))
    return notes


def _needed(family: str, kind: str) -> tuple[str, ...]:
    answers = {"pref": ("chosen", "rejected"), "kto": ("kto_tag",)}.get(kind, ())
    if family == "pretrain":
        return ("prompt",)
    if family == "alpaca":
        return (*answers, *(("response",) if kind in ("sft", "kto") else ()))
    return ("messages", "role_tag", "content_tag", "user_tag", "assistant_tag", *answers)


def mapped_keys(fields: Fields) -> frozenset[str]:
    """The record's top-level keys that the map names."""
    columns = (key for name, key in vars(fields).items() if not name.endswith("_tag") or name == "kto_tag")
    return frozenset(key for key in columns if key is not None)
