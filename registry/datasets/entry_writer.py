"""An entry of dataset_info.json for a file that prep wrote, so that LLaMA-Factory and prep read it without a word more.

Every column is named, since one that is left out is unset, and none that no record has: LLaMA-Factory ends with a
KeyError on a mapped column that is missing everywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection

from registry.errors import UsageFault

from .info_file import COLUMNS, INFO_NAME, TAGS, find_dataset_info
from .types import Fields


def entry_of(
    family: str, fields: Fields, kind: str, file_name: str, keys: Collection[str], *, calls: bool
) -> dict[str, object]:
    """The entry of one file.

    family: alpaca | sharegpt | openai | pretrain. keys: the top-level keys that its records have. calls: messages hold
    `tool_calls`; only then is it declared as openai, whose reader in LLaMA-Factory adds a sentence to system prompts.
    """
    entry: dict[str, object] = {"file_name": file_name}
    chat = family in ("sharegpt", "openai")
    if chat:
        entry["formatting"] = "openai" if calls else "sharegpt"
    if kind == "pref":
        entry["ranking"] = True
    entry["columns"] = {name: key for name in COLUMNS if (key := getattr(fields, name)) is not None and key in keys}
    if chat:
        entry["tags"] = {name: word for name in TAGS if (word := getattr(fields, name)) is not None}
    return entry


def entry_name(file: str) -> str:
    """The name of the entry for a file: the file's, without its endings."""
    return os.path.basename(file).split(".")[0]


def merged_info(folder: str, name: str, entry: dict[str, object]) -> tuple[str, bytes]:
    """(path, content) of the folder's dataset_info.json with the entry in it; the others stay as they are.

    Raises UsageFault when the name belongs to another file already, or the present file cannot be read.
    """
    info = find_dataset_info(folder)
    entries = dict(info.entries) if info is not None else {}
    present = entries.get(name)
    if isinstance(present, dict) and present.get("file_name") != entry["file_name"]:
        raise UsageFault(
            f"{os.path.join(folder, INFO_NAME)}: {name} is there already, for {present.get('file_name')}",
            hint="give the output another name",
        )
    entries[name] = entry
    return os.path.join(folder, INFO_NAME), (json.dumps(entries, ensure_ascii=False, indent=2) + "\n").encode()
