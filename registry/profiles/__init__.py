"""Vendor profiles: what a fine-tuning service or trainer accepts, as data; one YAML file each.

A profile says what its vendor refuses beyond what no trainer could use. Every key is optional; a check that a profile
does not name is not made. Limits move: `as_of` says when the facts were collected, `source` from where.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields
from importlib import resources
from typing import Any, Literal

import yaml

from registry.errors import UsageFault, did_you_mean


@dataclass(frozen=True)
class Profile:
    """One vendor's demands.

    formats: ids of record formats that it takes. key_sets: which of these keys may stand together in a record; a record
    whose keys are one of the sets is taken whatever its format, but for ShareGPT's words. endings: of file names,
    compared as they are written. containers: what a file may hold (stages.readers.FileInfo). min_records, max_records:
    of a file. max_bytes: of a file. roles, record_keys, message_keys: the words and keys that it knows; empty = any.
    system: "first" = only the first message. last: roles that the last message may have. weights: values that a
    message's `weight` may have, as they are written; weight_roles: who may have one. content: "one" = an answer has a
    text or calls, not both; "any" = one or both. call_id, function_name: regular expressions for the whole value.
    arguments: "text" = JSON text. max_tools: in a record. uniform_columns: a column holds one type over the file.
    early_columns: bytes at the start of the file within which every column must have shown its type; 0 = no matter
    where. dates: False = a text column must not look like dates throughout. rules: severities of `profile.*` rules for
    this vendor.
    """

    name: str
    title: str
    source: str
    as_of: str
    formats: tuple[str, ...] = ()
    key_sets: tuple[tuple[str, ...], ...] = ()
    endings: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    min_records: int = 0
    max_records: int = 0
    max_bytes: int = 0
    roles: tuple[str, ...] = ()
    record_keys: tuple[str, ...] = ()
    message_keys: tuple[str, ...] = ()
    system: Literal["", "first"] = ""
    last: tuple[str, ...] = ()
    weights: tuple[int, ...] = ()
    weight_roles: tuple[str, ...] = ()
    content: Literal["", "one", "any"] = ""
    call_id: str = ""
    function_name: str = ""
    arguments: Literal["", "text"] = ""
    max_tools: int = 0
    uniform_columns: bool = False
    early_columns: int = 0
    dates: bool = True
    rules: dict[str, str] = field(default_factory=dict)


def profile_names() -> list[str]:
    """The names of all profiles, sorted."""
    folder = resources.files(__package__)
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


@functools.cache
def load_profile(name: str) -> Profile:
    """One profile. Raises UsageFault for an unknown name, ValueError for a malformed file (a bug of ours)."""
    names = profile_names()
    if name not in names:
        raise UsageFault(
            f"profile: there is no profile {name!r}{did_you_mean(name, names)}", hint="`prep list profiles` shows them"
        )
    text = (resources.files(__package__) / f"{name}.yaml").read_text(encoding="utf-8")
    raw: dict[str, Any] = yaml.safe_load(text)
    known = {entry.name for entry in fields(Profile)} - {"name"}
    if unknown := raw.keys() - known:
        raise ValueError(f"{name}.yaml: unknown keys {sorted(unknown)}")
    values: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in raw.items()}
    values["key_sets"] = tuple(map(tuple, raw.get("key_sets", ())))
    return Profile(name=name, **values)
