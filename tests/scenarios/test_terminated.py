"""SIGTERM ends a run with 143, whenever it comes: also while Python still imports, and in the middle of a library."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import cli
from registry.errors import Terminated, UsageFault, is_library_failure


@pytest.mark.parametrize("delay_s", [0.12, 0.2, 0.35, 0.5, 0.8])
def test_in_the_first_second(tmp_path: Path, tiny: str, delay_s: float) -> None:
    (tmp_path / "a.jsonl").write_text('{"instruction": "a", "output": "b"}\n' * 200_000)
    words = ["pack", "dataset=a.jsonl", f"model_name_or_path={tiny}", "template=default", "-o", "out", "--workers", "1"]
    run = subprocess.Popen(
        [sys.executable, "-c", _STARTED, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout is not None and run.stdout.readline() == b"started\n"
    time.sleep(delay_s)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 143, said
    assert said.decode().count("prep: terminated") == 1
    assert b"Traceback" not in said
    assert not (tmp_path / "out" / "manifest.json").exists()


# Python's own start cannot be covered: the time is taken from where prep's code begins
_STARTED = """
import signal, sys
import pipeline.start as start
real = signal.signal
def told(number, handler):
    found = real(number, handler)
    if handler is start._at_once:
        print("started", flush=True)
    return found
start.signal.signal = told
start.main()
"""


@pytest.mark.parametrize(
    "swallow",
    [
        "try:\n    kill()\nexcept BaseException:\n    pass",
        "try:\n    kill()\nexcept BaseException:\n    raise AttributeError('layout')",
        "try:\n    kill()\nexcept BaseException:\n    raise fault('no such thing')",
    ],
)
def test_a_library_that_takes_it_for_its_own_changes_nothing(
    swallow: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(**_: object) -> int:
        exec(swallow, {"kill": lambda: os.kill(os.getpid(), signal.SIGTERM), "fault": UsageFault})
        return 0

    before = signal.signal(signal.SIGTERM, cli._terminated)
    try:
        monkeypatch.setattr(cli.prep, "main", command)
        assert cli.run(["validate"]) == 143
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, before)
        Terminated.arrived = False
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "terminated" in said


def test_nobody_falls_back_because_of_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_library_failure(ValueError())
    assert not is_library_failure(KeyboardInterrupt()) and not is_library_failure(Terminated())
    monkeypatch.setattr(Terminated, "arrived", True)
    assert not is_library_failure(ValueError())


def test_it_comes_again_when_it_was_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_AGAIN_S", 0.1)
    before = signal.signal(signal.SIGTERM, cli._terminated)
    try:
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Terminated):
            time.sleep(5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, before)
        Terminated.arrived = False
