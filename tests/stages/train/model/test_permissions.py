"""Weights can be read by whom the umask lets read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.train.model.permissions import follow_umask

Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_get_what_the_umask_leaves(mask: int, mode: int, umask: Callable[[int], int], tmp_path: Path) -> None:
    umask(mask)
    (tmp_path / "weights").touch(mode=0o600)
    (tmp_path / "script").touch()
    (tmp_path / "script").chmod(0o755)
    follow_umask(tmp_path)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == mode
    assert (tmp_path / "script").stat().st_mode & 0o777 == 0o755
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.train
def test_a_trained_model_and_its_checkpoints_can_be_read(
    umask: Callable[[int], int], make: Any, run_job: Run, tmp_path: Path
) -> None:
    umask(0o022)
    out = make.out(tmp_path / "out", "lm", {"train": make.lm(4)})
    run_job(out, tmp_path / "run", max_steps=1, save_strategy="steps", save_steps=1)
    for folder in (tmp_path / "run", tmp_path / "run" / "checkpoint-1"):
        assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o644
