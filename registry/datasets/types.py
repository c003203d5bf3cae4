"""The two values that describe a data set; `registry.datasets` offers them."""

from __future__ import annotations

from dataclasses import dataclass


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
    """One data set, resolved: where its records are and how to read them.

    files: local paths (file, folder or glob) or URLs, not yet expanded. format: id of a record format
    ("sharegpt-dpo", ...) or "auto". fields: the map, None when the format's own keys hold. num_samples: draw that
    many (with repetition when the set is smaller), None = all. declared: True when it stands in a
    dataset_info.json. split: "train" or another of a folder or hub, or a part of it such as "train[:100]" (several
    joined by "+"). license: for the data card only. notes: one line each, to be shown to the user.
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
    license: str | None = None
    notes: tuple[str, ...] = ()
