"""Which adapters were merged into the start weights below an adapter: it means nothing without them.

run 1   base ──────────────> adapter a
run 2   base + a (merged) ─> adapter b      b/prep_adapter.json: [a, its sha256]
export  b alone             a is found by that file and goes below it; gone or changed: refused
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from registry.errors import UsageFault

CHAIN_FILE = "prep_adapter.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def chain_entries(merged: Sequence[str], inside: str | None) -> list[dict[str, str]]:
    """What is noted of the adapters merged below another: path and sha256 of the weights of each, lowest first.

    inside: the subfolder that each is read from (`adapter_folder`).
    """
    return [{"path": _absolute(path), "sha256": _digest(Path(path) / (inside or ""))} for path in merged]


def write_chain(folder: Path, entries: Sequence[dict[str, str]]) -> None:
    """Note in an adapter's folder what lies below it; nothing below takes an older note away."""
    if not entries:
        (folder / CHAIN_FILE).unlink(missing_ok=True)
        return
    text = json.dumps({"merged": list(entries)}, indent=1, ensure_ascii=False) + "\n"
    (folder / CHAIN_FILE).write_text(text, encoding="utf-8")


def whole_chain(adapters: Sequence[str], inside: str | None, notes: list[str]) -> list[str]:
    """The adapters with those below the last one, lowest first.

    Args:
        adapters: As the user names them.
        inside: The subfolder that each is read from.
        notes: Takes a line when adapters were added.

    Raises:
        UsageFault: One that it was trained on is missing or has changed, or others are named below it.
    """
    if not adapters:
        return []
    last = Path(adapters[-1]) / (inside or "")
    below = _below(last)
    if not below:
        return list(adapters)
    named = list(adapters[:-1])
    if named:
        if [_digest(Path(path) / (inside or "")) for path in named] != [entry["sha256"] for entry in below]:
            raise UsageFault(
                f"adapter_name_or_path: {last} was trained on top of {_paths(below)}, and that is not what is named "
                f"before it ({', '.join(named)})",
                hint=f"name {','.join([*(str(entry['path']) for entry in below), adapters[-1]])}",
            )
        return list(adapters)
    for entry in below:
        if _digest(Path(entry["path"]) / (inside or "")) != entry["sha256"]:
            raise UsageFault(
                f"adapter_name_or_path: {last} was trained on top of {entry['path']}, which is gone or has changed "
                "since; on other weights it gives another model",
                hint="name the adapters below it first, wherever they are now: adapter_name_or_path: BELOW,"
                + adapters[-1],
            )
    notes.append(f"adapter {adapters[-1]} was trained on top of {_paths(below)}, which goes below it")
    return [*(str(entry["path"]) for entry in below), adapters[-1]]


def _below(folder: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads((folder / CHAIN_FILE).read_bytes())["merged"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageFault(f"{folder / CHAIN_FILE} cannot be read: {error}") from None


def _digest(folder: Path) -> str:
    """The sha256 of an adapter's weights, "" when they are not here (a repository of the hub)."""
    for name in _WEIGHTS:
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def _absolute(path: str) -> str:
    return str(Path(path).resolve()) if Path(path).exists() else path


def _paths(entries: Sequence[dict[str, Any]]) -> str:
    return ", ".join(str(entry["path"]) for entry in entries)
