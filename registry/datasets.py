"""Data sets by name: LLaMA-Factory's `dataset_info.json`, read as it is, and plain paths.

`Fields` is the column and tag map of one data set. LLaMA-Factory's all-or-nothing rule holds: as soon as `columns`
(or `tags`) is given, every name left out is None, not its default.
"""

from __future__ import annotations

from dataclasses import dataclass

INFO_NAME = "dataset_info.json"


@dataclass(frozen=True)
class Fields:
    """Which key of the user's record holds what; None = not mapped. Names are LLaMA-Factory's."""

    prompt: str | None = None
    query: str | None = None
    response: str | None = None
    history: str | None = None
    messages: str | None = None
    system: str | None = None
    tools: str | None = None
    images: str | None = None
    videos: str | None = None
    audios: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    kto_tag: str | None = None
    # tags
    role_tag: str | None = None
    content_tag: str | None = None
    user_tag: str | None = None
    assistant_tag: str | None = None
    observation_tag: str | None = None
    function_tag: str | None = None
    system_tag: str | None = None


@dataclass(frozen=True)
class Dataset:
    """One entry, resolved: where its records are and how to read them.

    files: sorted local paths (or URLs). format: id of contract.md ("sharegpt-dpo", ...) or "auto". fields: the map.
    num_samples: draw that many (with repetition when the set is smaller), None = all. declared: True when the entry
    stands in a dataset_info.json.
    """

    name: str
    files: tuple[str, ...]
    format: str = "auto"
    fields: Fields | None = None
    ranking: bool = False
    num_samples: int | None = None
    declared: bool = False
    hub: str | None = None
    subset: str | None = None
    split: str = "train"
    folder: str | None = None
