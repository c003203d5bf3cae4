"""Models of the Hugging Face hub that are in this machine's cache, found without the library and without network.

    <cache>/models--org--name/refs/main             the commit that a branch or tag stood at when it was fetched
    <cache>/models--org--name/snapshots/<commit>/   its files

The cache is HF_HUB_CACHE, else HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub, as
huggingface_hub has it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAME = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*")


def looks_like_hub_name(name: str) -> bool:
    """Whether a text may be `org/name` or `name` on the hub."""
    return _NAME.fullmatch(name) is not None and ".." not in name


def model_folder(name: str, revision: str = "main") -> str:
    """The folder of a model: the one of that name, or the cached one of a hub name; else the name as it is."""
    if os.path.isdir(name) or not looks_like_hub_name(name):
        return name
    cached = _cache() / f"models--{name.replace('/', '--')}"
    try:
        commit = (cached / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        commit = revision  # a commit is its own name
    snapshot = cached / "snapshots" / commit
    inside = re.fullmatch(r"[\w-][\w.-]*", commit) is not None
    return os.fspath(snapshot) if inside and snapshot.is_dir() else name


def _cache() -> Path:
    if named := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface")
    return Path(home).expanduser() / "hub"
