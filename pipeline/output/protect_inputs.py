"""Guard: a file that the user has prep write never takes the place of what a run reads, nor of a part of an output.

A path is compared as a name, as the place that links lead to, and as the file itself, so that neither `./a.jsonl` nor a
symbolic or hard link gets past.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from registry.datasets.info_file import INFO_NAME
from registry.errors import UsageFault

from .manifest import is_output
from .store import is_store, local_folder

_PathLike = str | os.PathLike[str]


def marks(path: _PathLike) -> set[object]:
    """What a file is known by: the place that its name leads to and, when it is there, itself. Two paths with a mark in
    common are one file."""
    found: set[object] = {os.path.realpath(path)}
    with contextlib.suppress(OSError, ValueError):  # it is not there
        about = os.stat(path)
        found.add((about.st_dev, about.st_ino))
    return found


def refuse_reading(target: _PathLike, read: Iterable[_PathLike], option: str) -> None:
    """Refuses to write to an input.

    Args:
        target: The file that is about to be written.
        read: The files that are read.
        option: The option that names the target, for the message.

    Raises:
        UsageFault: The target is one of the files that are read.
    """
    its = marks(target)
    if any(its & marks(path) for path in read):
        raise UsageFault(
            f"{option} {os.fspath(target)}: is an input; prep never writes to its input",
            hint=f"give another file with {option}",
        )


def refuse_folder(target: _PathLike, option: str, example: str) -> None:
    """Refuses to write a file where a folder is, or into something that is none.

    Args:
        target: The file that is about to be written.
        option: The option that names it, for the message.
        example: A file name for the hint.

    Raises:
        UsageFault: The target is a folder, or lies in something that is none.
    """
    path = Path(target)
    if path.is_dir():
        raise UsageFault(f"{option} {path}: is a folder; name the file to write", hint=f"{option} {path}/{example}")
    refuse_file(path.parent, option)


def refuse_file(folder: _PathLike, option: str) -> None:
    """Raises UsageFault when a folder that is about to be written to is a file, or lies in one."""
    whole = Path(folder)
    file = next((path for path in (whole, *whole.parents) if path.exists() and not path.is_dir()), None)
    if file is not None:
        raise UsageFault(f"{option}: {file} is a file, not a folder", hint=f"give another place with {option}")


def refuse_output(target: _PathLike, out: str, manifest: Mapping[str, Any], option: str) -> None:
    """Refuses to write to a part of an output, or to what was read to make it.

    Args:
        target: The file that is about to be written.
        out: The output, a folder or a URL.
        manifest: Of the output. Its inputs are known by path, and by content where they are named from another folder.
        option: The option that names the target, for the message.

    Raises:
        UsageFault: The target is a part of the output, or an input of it.
    """
    if not is_store(out):
        whole = os.path.realpath(local_folder(out))
        inside = os.path.relpath(os.path.realpath(target), whole)
        if inside == "." or is_output(Path(inside).parts[0], frozenset(manifest["splits"])):
            raise UsageFault(
                f"{option} {os.fspath(target)}: is a part of the output {out}",
                hint=f"give a file elsewhere with {option}",
            )
    refuse_reading(target, _read_for(manifest), option)
    if os.path.isfile(target) and any(_has_content(target, entry) for entry in manifest["inputs"]):
        raise UsageFault(
            f"{option} {os.fspath(target)}: holds what an input of {out} holds; prep never writes to its input",
            hint=f"give another file with {option}",
        )


def _read_for(manifest: Mapping[str, Any]) -> list[str]:
    """Files that a run has read: its data, its configuration, its data sets' table and its tokenizer."""
    run = manifest.get("run", {})
    paths = [str(entry["path"]) for entry in manifest["inputs"]]
    paths += [str(run["config"])] if run.get("config") else []
    folder = manifest.get("recipe", {}).get("dataset_dir")
    paths += [os.path.join(str(folder), INFO_NAME)] if folder else []
    model = str(run.get("model_name_or_path") or "")
    if os.path.isdir(model):
        paths += [entry.path for entry in os.scandir(model) if entry.is_file()]
    return paths


def _has_content(target: _PathLike, entry: Mapping[str, Any]) -> bool:
    if not entry["bytes"] or os.path.getsize(target) != entry["bytes"]:
        return False
    with open(target, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() == str(entry["sha256"])
