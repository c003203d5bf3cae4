"""Reading `dataset_info.json`: one JSON object, data set name -> description, in LLaMA-Factory's words.

Only the file's shape is checked here; an entry is checked when it is used, so that one odd entry among a hundred does
not stop a run that does not name it.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from registry.errors import UsageFault, did_you_mean, unreadable

INFO_NAME = "dataset_info.json"

COLUMNS = (
    "prompt", "query", "response", "history", "messages", "system", "tools",
    "images", "videos", "audios", "chosen", "rejected", "kto_tag",
)  # fmt: skip
TAGS = ("role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag")
HUB_KEYS = ("hf_hub_url", "ms_hub_url", "om_hub_url")
KEYS = (
    *HUB_KEYS, "script_url", "cloud_file_name", "file_name",
    "formatting", "ranking", "subset", "split", "folder", "num_samples", "columns", "tags", "license",
)  # fmt: skip
FORMATTINGS = ("alpaca", "sharegpt", "openai")
SHAREGPT_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}

# LLaMA-Factory has no defaults that fit OpenAI's own keys: its run ends with KeyError 'from'
OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function",
    "system_tag": "system",
}


@dataclass(frozen=True)
class DatasetInfo:
    """The file's entries as they stand. folder: what `file_name` is relative to."""

    path: str
    folder: str
    entries: Mapping[str, object]
    notes: tuple[str, ...] = ()


def load_dataset_info(dataset_dir: str) -> DatasetInfo:
    """Reads `<dataset_dir>/dataset_info.json`. Raises UsageFault when it is missing or is no JSON object."""
    info = find_dataset_info(dataset_dir)
    if info is None:
        raise UsageFault(missing_info(dataset_dir))
    return info


def find_dataset_info(dataset_dir: str) -> DatasetInfo | None:
    """The same, None when there is no such file. Raises UsageFault when it is no such table,
    MachineFault when it may not be read."""
    path = os.path.join(dataset_dir, INFO_NAME)
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise UsageFault(f"{path}: is a device or a pipe, no file")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise unreadable(problem, path) from None
    notes: list[str] = []
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise UsageFault(f"{path}:{line}: is not UTF-8 (byte {problem.start})", hint="save it as UTF-8") from None
    if text.startswith("\ufeff"):
        notes.append(f"{path}: starts with a byte order mark, which is skipped")
        text = text[1:]
    return DatasetInfo(path, dataset_dir, _parse(path, text, notes), tuple(notes))


def is_hub(dataset_dir: str) -> bool:
    """True for LLaMA-Factory's two words that mean a hub instead of a folder."""
    return dataset_dir == "ONLINE" or dataset_dir.startswith("REMOTE:")


def missing_info(dataset_dir: str) -> str:
    """The sentence for a data folder without dataset_info.json."""
    if is_hub(dataset_dir):
        return (
            f"dataset_dir: {dataset_dir} means data sets of a hub; download them, and name their files in a"
            f" {INFO_NAME}, or give their paths as `dataset`"
        )
    what = f"holds no {INFO_NAME}" if os.path.isdir(dataset_dir) else "is no folder"
    return f"dataset_dir: {dataset_dir} {what}; name the folder that has it, or give files as `dataset`"


def _parse(path: str, text: str, notes: list[str]) -> dict[str, object]:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(items)
        if len(found) != len(items):
            names = [name for name, _ in items]
            twice = sorted({name for name in names if names.count(name) > 1})
            notes.append(f"{path}: {', '.join(twice)}: stands twice; the last one counts")
        return found

    try:
        entries = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as problem:
        raise UsageFault(f"{path}:{problem.lineno}:{problem.colno}: is not JSON: {problem.msg}") from None
    except ValueError:  # Python reads no longer ones
        raise UsageFault(f"{path}: holds a number of more than 4,300 digits") from None
    except RecursionError:
        raise UsageFault(f"{path}: is nested too deeply") from None
    if "\\u" in text:
        try:
            json.dumps(entries, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UsageFault(f"{path}: an escape stands for half a character (a lone surrogate)") from None
    if not isinstance(entries, dict):
        raise UsageFault(f"{path}: must hold one object: data set name -> description")
    return entries


def check_names(what: str, given: Iterable[str], known: Iterable[str], problems: list[str], notes: list[str]) -> None:
    """Unknown names of an entry: a near miss of a known one is a mistake, anything else is ignored with a note, as
    LLaMA-Factory ignores it (old entries hold `file_sha1`, `description` and the like)."""
    names = list(known)
    for name in given:
        if name in names:
            continue
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
        if near:
            problems.append(f"{what} {name}: there is no such key{did_you_mean(name, names)}")
        elif name != "file_sha1":
            notes.append(f"{what} {name}: means nothing here and is ignored")
