"""The manifest: what an output holds and how it was made. It is written last, and nothing is complete without it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from registry.errors import DataFault, UsageFault, unreadable

from .store import is_store, local_folder

SCHEMA_VERSION = 1
NAME = "manifest.json"


def dump(document: dict[str, Any]) -> bytes:
    """The bytes of a manifest or report: sorted keys, so that equal content is equal bytes."""
    return (json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode("utf-8")


def read_manifest(out: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of an output: a folder, or a URL.

    Raises UsageFault when there is none or its version is not ours, DataFault when it cannot be read as JSON,
    MachineFault when it may not be read.
    """
    if is_store(out):
        from .fetch import fetch_manifest

        return fetch_manifest(os.fspath(out))
    path = local_folder(out) / NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        _refuse_file(out)
        what = (
            "no such folder" if not path.parent.is_dir() else "no manifest.json in it, so it holds no finished output"
        )
        raise UsageFault(f"{out}: {what}", hint="make one with `prep pack CONFIG.yaml -o OUT`") from None
    except OSError as error:
        raise unreadable(error, path) from error
    return parse_manifest(data, str(path))


def output_of(file: str | os.PathLike[str]) -> Path | None:
    """The output that a file is a part of, None for other files and for what is no file."""
    from .publish import is_ours, is_output

    path = local_folder(file)
    for folder in list(path.parents)[:2] if path.is_file() else ():  # OUT/manifest.json, OUT/train/x.arrow
        if is_output(path.relative_to(folder).parts[0]) and is_ours(folder):
            return folder
    return None


def _refuse_file(out: str | os.PathLike[str]) -> None:
    if local_folder(out).is_file():
        near = output_of(out)
        raise UsageFault(
            f"{out}: is a file; name the folder that prep pack wrote",
            hint=f"the output is {near}" if near is not None else "make one with `prep pack CONFIG.yaml -o OUT`",
        )


def parse_manifest(data: bytes, path: str) -> dict[str, Any]:
    """A manifest's bytes. path: for messages. Raises as `read_manifest` does."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise DataFault(
            f"{path}: not valid JSON: {error}", hint="the file is damaged: run `prep pack` again"
        ) from error
    if not isinstance(document, dict) or "splits" not in document:
        raise DataFault(f"{path}: not a manifest of prep", hint="run `prep pack` again")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UsageFault(
            f"{path}: schema_version {version!r} is not the one this prep reads ({SCHEMA_VERSION})",
            hint="use the prep that wrote it, or run `prep pack` again",
        )
    return document
