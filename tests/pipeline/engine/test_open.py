"""Every command keeps to `engine`, `workers` and `memory_limit`, in each of its passes over the data."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run
from pipeline.config import load_config
from pipeline.engine import open as engines
from pipeline.runs.validate.repair_files import write_repaired
from pipeline.runs.validate.run import Checked, plan_files, validate
from pipeline.runs.validate.vendor_profile import check_profile
from registry.errors import MachineFault, UsageFault

CHAT = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
LIMIT = 1_000_000_000
COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "convert": lambda source, out: ["convert", "sharegpt:openai", str(source), "-o", str(out / "copy.jsonl")],
    "validate": lambda source, out: ["validate", str(source)],
    "fix": lambda source, out: ["validate", str(source), "--fix", str(out)],
    "profile": lambda source, out: ["validate", str(source), "--profile", "llamafactory"],
}
PASSES = {"convert": 1, "validate": 1, "fix": 2, "profile": 2}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text((json.dumps(CHAT) + "\n") * 20, encoding="utf-8")
    return path


@pytest.fixture
def teams(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None]]:
    """(workers, memory of each) of every team that is started. No input is too small for one."""
    started: list[tuple[int, int | None]] = []

    class Processes(engines.Processes[Any, Any]):
        def __init__(self, job: Any, workers: int, *, memory_bytes: int | None = None) -> None:
            started.append((workers, memory_bytes))
            super().__init__(job, workers, memory_bytes=memory_bytes)

    monkeypatch.setattr(engines, "Processes", Processes)
    monkeypatch.setattr(engines, "SMALL_INPUT_BYTES", 0)
    return started


@pytest.mark.parametrize("command", COMMANDS)
def test_a_team_is_as_large_as_memory_limit_allows(
    command: str, source: Path, tmp_path: Path, teams: list[tuple[int, int | None]]
) -> None:
    words = COMMANDS[command](source, tmp_path / "out")
    assert run([*words, "--quiet", "--workers", "4", f"memory_limit={LIMIT}"]) == 0
    assert teams == [(1, LIMIT // 2)] * PASSES[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_inline_engine_starts_no_process(
    command: str, source: Path, tmp_path: Path, teams: list[tuple[int, int | None]]
) -> None:
    words = COMMANDS[command](source, tmp_path / "out")
    assert run([*words, "--quiet", "engine=inline", "--workers", "4"]) == 0
    assert not teams


def test_convert_refuses_a_memory_limit_that_no_worker_fits_into(
    source: Path, tmp_path: Path, teams: list[tuple[int, int | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = COMMANDS["convert"](source, tmp_path)
    assert run([*words, "memory_limit=500MB"]) == 2
    assert "memory_limit: 476 MiB are too few" in capsys.readouterr().err
    assert not (tmp_path / "copy.jsonl").exists()
    assert not teams


def test_convert_says_what_is_wrong_with_a_setting(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*COMMANDS["convert"](source, tmp_path), "engine=inlin"]) == 2
    assert "engine" in capsys.readouterr().err


def checked(source: Path, **values: object) -> Checked:
    """A validation, and its plans as they are when the second pass has other settings."""
    plans, _ = plan_files([str(source)], load_config(None, {"dataset": str(source)}, for_command="validate"))
    done = validate(plans)
    return Checked(done.report, [replace(plan, config=plan.config.with_values(**values)) for plan in done.plans])


SECOND: dict[str, Callable[[Checked, Path], object]] = {
    "fix": lambda done, out: write_repaired(done, str(out)),
    "profile": lambda done, out: check_profile(done, "openai"),
}


@pytest.mark.parametrize("what", SECOND)
def test_the_second_pass_refuses_a_memory_limit_that_no_worker_fits_into(
    what: str, source: Path, tmp_path: Path, teams: list[tuple[int, int | None]]
) -> None:
    done = checked(source, memory_limit=500_000_000)
    teams.clear()
    with pytest.raises(UsageFault, match="memory_limit"):
        SECOND[what](done, tmp_path / "out")
    assert not teams


@pytest.mark.parametrize("what", SECOND)
def test_the_second_pass_runs_on_ray_when_that_is_wanted(
    what: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineFault, match="ray is not installed"):
        SECOND[what](checked(source, engine="ray"), tmp_path / "out")


def test_convert_runs_on_ray_when_that_is_wanted(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run([*COMMANDS["convert"](source, tmp_path), "engine=ray"]) == 3
    assert "ray is not installed" in capsys.readouterr().err
