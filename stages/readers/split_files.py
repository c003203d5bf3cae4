"""Which files of a folder belong to which split, by the hub's convention of file and folder names.

    data/train-00000-of-00002.parquet     the name before the shard's number is the split
    train.jsonl, my-train_2.jsonl         a keyword of the split between separators
    train/a.jsonl, en/test/b.jsonl        the same of a folder, when no file name has one

As the datasets library does, the first of the three that fits any file decides for the folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from registry.errors import UsageFault
from stages.core.display import clean

TRAIN = "train"
_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_BORDER = r"[-._ 0-9]"
_SHARD = re.compile(r"(\w+(?:[.-]\w+)*?)-\d{5}-of-\d{5}")
_KEYWORD = {
    split: re.compile(rf"(?:^|{_BORDER})(?:{'|'.join(words)})(?:{_BORDER}|$)", re.IGNORECASE)
    for split, words in _KEYWORDS.items()
}
_MOST_NAMED = 3


def splits_of(paths: Sequence[str], root: str) -> dict[str, list[str]]:
    """Split -> its files, in order; the files of no split under "". Only "" when no name says anything."""
    for named in (_by_shard, _by_file, _by_folder):
        found: dict[str, list[str]] = {}
        for path in paths:
            found.setdefault(named(_below(path, root)), []).append(path)
        if found.keys() - {""}:
            return found
    return {"": list(paths)}


def _below(path: str, root: str) -> str:
    """A path below the folder; the folder's own name and those above it tell no split."""
    if "://" not in path:
        return os.path.relpath(path, root)
    prefix = root.rstrip("/") + "/"
    return path.removeprefix(prefix) if path.startswith(prefix) else os.path.basename(path)


def _by_shard(path: str) -> str:
    match = _SHARD.match(os.path.basename(path))
    return match[1] if match else ""


def _by_file(path: str) -> str:
    return _keyword(os.path.basename(path))


def _by_folder(path: str) -> str:
    parts = os.path.dirname(path).split("/")
    return next((split for part in reversed(parts) if (split := _keyword(part))), "")


def _keyword(name: str) -> str:
    return next((split for split, pattern in _KEYWORD.items() if pattern.search(name)), "")


def take_split(spec: str, root: str, paths: list[str], wanted: str, notes: list[str]) -> list[str]:
    """The files of one split of a folder. What is left out is named in `notes`, with the way to read it.

    Args:
        spec: what the user wrote, for messages.
        root: the folder below which names count.
        paths: its data files, in order.
        wanted: the split, or several joined by "+"; of "train" all files are taken where no name
            tells a held-out split.
        notes: gets a line when files are left out.

    Raises:
        UsageFault: there is no such split, or several are for training.
    """
    splits = splits_of(paths, root)
    named = sorted(splits.keys() - {""})
    chosen = wanted
    if wanted == TRAIN and wanted not in splits:
        train = [name for name in named if re.match(rf"{TRAIN}{_BORDER}", name)]
        if len(train) > 1:
            raise UsageFault(
                f"{clean(spec)}: has several splits for training: {', '.join(named)}",
                hint=_entry(train[0]),
            )
        chosen = train[0] if train else ""
    if not chosen or (wanted == TRAIN and not splits.keys() - {"", chosen}):
        _note_held_out(spec, root, splits, notes)
        return paths
    taken = chosen.split("+")
    if not splits.keys() >= set(taken):
        held = ", ".join(named) or "no name of a file says train, validation or test"
        raise UsageFault(f"{clean(spec)}: has no split {wanted} ({held})")
    out = {name: _named(files, root) for name, files in splits.items() if name not in taken}
    if not out:
        return [path for name in taken for path in splits[name]]
    listed = "; ".join(f"{name or 'of no split'}: {files}" for name, files in sorted(out.items()))
    others = [name for name in named if name not in taken]
    hint = f"; {_entry(others[0])}" if others else ""
    notes.append(clean(f"{spec}: split {chosen} is read, the other files are left out ({listed}){hint}"))
    return [path for name in taken for path in splits[name]]


def _note_held_out(spec: str, root: str, splits: dict[str, list[str]], notes: list[str]) -> None:
    """Says that files whose names tell a held-out split are read, where no other file is named for training."""
    held = [name for name in splits if name in ("validation", "test")]
    if held and len(splits) > 1:
        files = _named([path for name in held for path in splits[name]], root)
        notes.append(clean(f"{spec}: no file is named as the train split, so all are read, {files} too"))


def _entry(split: str) -> str:
    return f'to read another: an entry of dataset_info.json with this folder as "file_name" and "split": "{split}"'


def _named(paths: Sequence[str], root: str) -> str:
    more = len(paths) - _MOST_NAMED
    names = [_below(path, root) for path in paths[:_MOST_NAMED]]
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def without_split(spec: str, wanted: str | None) -> None:
    """Raises UsageFault when a split is wanted of something that is no folder."""
    if wanted not in (None, TRAIN):
        what = "local files have only `train`, or parts of it such as train[:100]"
        raise UsageFault(
            f"{clean(spec)}: split {wanted}: {what}",
            hint="a folder has the splits that the names of its files tell: name that as file_name",
        )
