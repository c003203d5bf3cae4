"""Configurations from a few lines of YAML, and the mistakes that are found in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import Config, load_config
from registry.errors import UsageFault


def write(folder: Path, text: str, name: str = "run.yaml") -> str:
    """A configuration file with this text; its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def load(folder: Path, text: str, *overrides: str, **environ: str) -> Config:
    """The configuration of this text under some overrides, with nothing but `environ` in the environment."""
    return load_config(write(folder, text), overrides, environ=environ)


def problems(folder: Path, text: str, *overrides: str, command: str | None = None, **environ: str) -> tuple[str, ...]:
    """The mistakes that loading this text reports, the folder taken off the file's name."""
    with pytest.raises(UsageFault) as caught:
        load_config(write(folder, text), overrides, environ=environ, for_command=command)  # type: ignore[arg-type]
    return tuple(problem.replace(f"{folder}/", "") for problem in caught.value.problems)
