"""Registered: data files for which a dataset_info.json has a map, and the commands that check them with it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from pipeline.config import Config
from registry.datasets import DatasetRow, list_datasets
from registry.datasets.info_file import INFO_NAME
from registry.errors import Fault
from registry.kinds import STAGES, usual_stage
from stages.core.display import clean
from stages.formats.table import FORMATS

_MOST = 8  # names in one command


def registered(spec: str, config: Config) -> list[str]:
    """What to say of a file or folder beside a dataset_info.json: that it is there, and a command for each stage that
    its data sets are for. Empty when there is none, or it knows nothing of the file."""
    path = Path(spec)
    folder = path if path.is_dir() else path.parent
    try:
        rows = [row for row in list_datasets(str(folder)) if row.format and row.exists and "," not in row.name]
    except Fault:  # it was not requested
        return []
    if path.is_dir():
        said = f"note: {folder / INFO_NAME} is there; to check as it says:"
    else:
        rows = [row for row in rows if [os.path.realpath(file) for file in row.files] == [os.path.realpath(path)]][:1]
        names = "".join(clean(row.name) for row in rows)
        said = f'note: {folder / INFO_NAME} names this file "{names}"; to check it with its map:'
    commands = list(_commands(rows, str(folder), config))
    return [said, *commands] if commands else []


def _commands(rows: list[DatasetRow], folder: str, config: Config) -> Iterator[str]:
    """One command a stage, on a line of its own, so that it can be copied."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        stage = usual_stage(FORMATS[row.format].kind)
        given = config.method if "stage" in config.given else ""
        if given and STAGES[given].records == STAGES[stage].records:
            stage = given
        groups.setdefault(stage, []).append(row.name)
    for stage, names in groups.items():
        words = [f"dataset={','.join(names[:_MOST])}", f"dataset_dir={folder}"]
        words += [f"stage={stage}"] if stage != "sft" else []
        more = f"   and {len(names) - _MOST} more of this stage" if len(names) > _MOST else ""
        yield f"  prep validate {' '.join(shlex.quote(clean(word)) for word in words)}{more}"
