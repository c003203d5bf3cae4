"""Data sets by name: LLaMA-Factory's `dataset_info.json`, read as it is, and plain paths.

`Fields` is the column and tag map of one data set. LLaMA-Factory's all-or-nothing rule holds: as soon as `columns`
(or `tags`) is given, every name left out is None, not its default. What LLaMA-Factory ignores without a word (a
mistyped column, a name given twice, `ranking: "true"`) is an error or a note here.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from registry.errors import UsageFault, did_you_mean

from .entry import entry_to_dataset
from .info_file import DatasetInfo, find_dataset_info, is_hub, load_dataset_info, missing_info
from .types import Dataset

_DATA_SUFFIX = re.compile(
    r"\.(json|jsonl|ndjson|csv|tsv|txt|parquet|arrow|feather)(\.(gz|zst|zstd|bz2|xz))?$", re.IGNORECASE
)
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class DatasetRow:
    """One line of `prep list datasets`. format: "" when the entry has mistakes; exists: None = not a local file."""

    name: str
    format: str
    files: tuple[str, ...]
    exists: bool | None
    problems: tuple[str, ...] = ()


def resolve(
    names: str | Sequence[str],
    dataset_dir: str,
    *,
    stage: str | None = None,
    base: str | None = None,
    record_format: str = "auto",
) -> list[Dataset]:
    """The data sets that `dataset` or `eval_dataset` names, in order.

    names: a comma list or a list. A name of dataset_info.json wins; anything else must be a path, folder, glob or URL
    (kept as such in `files`). stage: a training stage or "predict", to check that the data fits; None checks nothing of
    that. base: a further folder to look for relative paths in. record_format: format of data sets given as paths.
    Data sets that live on a hub have their `hub` set and no files. Raises UsageFault with every mistake.
    """
    notes: list[str] = []
    wanted = _split(names, notes)
    info = find_dataset_info(dataset_dir)
    found: list[Dataset] = []
    problems: list[str] = []
    lost: list[str] = []
    for name in wanted:
        if info is not None and name in info.entries:
            found.append(entry_to_dataset(name, info.entries[name], info, stage, problems))
            continue
        path = _as_path(name, dataset_dir, base)
        if path is not None:
            found.append(Dataset(_path_name(path, found), (path,), format=record_format))
        elif _looks_like_path(name) and not is_hub(dataset_dir):
            problems.append(f"dataset: {name}: there is no such file or folder{_hub_remedy(name)}")
        else:
            lost.append(name)
    problems += _unknown(lost, dataset_dir, info)
    if not wanted:
        problems.append("dataset: names no data set")
    if problems:
        raise UsageFault(problems, hint=_listing(dataset_dir, info))
    notes += info.notes if info is not None and any(data.declared for data in found) else ()
    if notes and found:
        found[0] = replace(found[0], notes=(*notes, *found[0].notes))
    return found


def _listing(dataset_dir: str, info: DatasetInfo | None) -> str:
    """The command that lists the data sets of a folder, or of the one that is meant."""
    place = shlex.quote(dataset_dir) if info is not None else "DIR"
    return f"`prep list datasets --dataset_dir {place}` shows the data sets of a folder"


def list_datasets(dataset_dir: str) -> list[DatasetRow]:
    """Every entry of a folder's dataset_info.json, in file order. Raises UsageFault when there is no such file."""
    info = load_dataset_info(dataset_dir)
    rows = []
    for name, entry in info.entries.items():
        problems: list[str] = []
        data = entry_to_dataset(name, entry, info, None, problems)
        files = data.files or ((data.hub,) if data.hub else ())
        local = [path for path in data.files if "://" not in path]
        exists = all(os.path.exists(path) for path in local) if local else None
        rows.append(DatasetRow(name, "" if problems else data.format, files, exists, tuple(problems)))
    return rows


def _split(names: str | Sequence[str], notes: list[str]) -> list[str]:
    """The names once each, in order."""
    parts = names.split(",") if isinstance(names, str) else list(names)
    wanted = [part.strip() for part in parts]
    if any(not name for name in wanted) and any(wanted):
        notes.append("dataset: a comma without a name beside it is ignored")
    once = list(dict.fromkeys(name for name in wanted if name))
    for name in once:
        if wanted.count(name) > 1:
            notes.append(f"dataset: {name} is named {wanted.count(name)} times and counts once")
    return once


def _looks_like_path(name: str) -> bool:
    return bool("://" in name or "/" in name or os.sep in name or _GLOB.search(name) or _DATA_SUFFIX.search(name))


def _as_path(name: str, dataset_dir: str, base: str | None) -> str | None:
    """The path that a name stands for, None when nothing is there. A glob counts when its fixed folder exists."""
    if "://" in name:
        return name
    here = os.path.expanduser(name)
    for folder in ("", dataset_dir, base or ""):
        path = os.path.normpath(os.path.join(folder, here)) if folder else here
        if os.path.exists(path) or (_GLOB.search(name) and os.path.isdir(_fixed_part(path) or ".")):
            return path
    return None


def _fixed_part(pattern: str) -> str:
    magic = _GLOB.search(pattern)
    return os.path.dirname(pattern[: magic.start()]) if magic else pattern


def _path_name(path: str, others: Sequence[Dataset]) -> str:
    """A short name for a data set given as a path: the file's, or the folder's in front of a glob."""
    fixed = _fixed_part(path.split("?", 1)[0] if "://" in path else path)
    stem = _DATA_SUFFIX.sub("", os.path.basename(fixed.rstrip("/")))
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "dataset"
    taken = {data.name for data in others}
    number = 2
    while name in taken:
        name, number = f"{name.rsplit('-', 1)[0] if number > 2 else name}-{number}", number + 1
    return name


def _hub_remedy(name: str) -> str:
    """What to do when a missing path has the form of a hub's `owner/name`."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name) or "." in name.rsplit("/", 1)[1][-6:]:
        return ""
    if os.path.isdir(name.split("/")[0]):  # a file that is not in that folder
        return ""
    return f'; if it is a hub data set, enter it in dataset_info.json: {{"hf_hub_url": "{name}"}}'


def _unknown(lost: Sequence[str], dataset_dir: str, info: DatasetInfo | None) -> list[str]:
    if not lost:
        return []
    if info is None:
        return [missing_info(dataset_dir), *(f"dataset: {name}: is neither a file nor a folder" for name in lost)]
    return [f"dataset: {name}: {info.path} has no such data set{did_you_mean(name, info.entries)}" for name in lost]
