"""Where a run is: a bar on a terminal, a line a minute in a log, silence when requested."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from pipeline.progress import LOG_EVERY_S, Progress

ROOT = Path(__file__).parents[2]


class Lengths(NamedTuple):
    tokens_in: np.ndarray


class Result(NamedTuple):
    read: int
    text_bytes: int
    examples: Lengths | None = None
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_line_says_rates_time_left_and_the_slowest_stage() -> None:
    clock = Clock()
    progress = Progress(total_bytes=40_000_000, clock=clock)
    clock.now = 2.0
    progress(Result(1000, 10_000_000, Lengths(np.array([1_000_000, 500_000])), (0.5, 1.4, 0.1)))
    assert progress.line(2.0) == (
        "1,000 records (500/s), 10 MB (5.0 MB/s), 1,500,000 tokens (750,000/s), 0:06 left, mostly tokenize (70 %)"
    )


def test_no_time_left_is_reported_when_the_size_is_not_known() -> None:
    """Compressed input, a URL: better nothing than a guess."""
    progress = Progress(clock=Clock())
    progress(Result(10, 1000))
    assert "left" not in progress.line(1.0)
    progress.expect(500)  # more text came than the file promised
    assert "left" not in progress.line(1.0)


def test_hours_are_reported_as_hours() -> None:
    progress = Progress(total_bytes=4_000_000, clock=Clock())
    progress(Result(1, 1_000_000))
    assert "1:00:00 left" in progress.line(1200.0)


def test_a_log_gets_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(clock=clock) as progress:
        for second in range(0, 200, 5):
            clock.now = float(second)
            progress(Result(1, 1000))
        progress.shard(4)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 200 // LOG_EVERY_S
    assert all(line.startswith("progress: ") for line in lines)


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Progress(quiet=True, clock=clock) as progress:
        clock.now = 1000.0
        progress(Result(1, 1000))
    assert capsys.readouterr().err == ""


def test_shards_are_counted() -> None:
    progress = Progress(clock=Clock())
    progress(Result(1, 1000))
    progress.shard(3)
    progress.shard(3)
    assert progress.line(9.0) == "writing shards: 2 of 3"


SCRIPT = """
import time
from pipeline import progress
progress.QUICK_S = 0.0
class Result:
    read, text_bytes = 1000, 250_000
with progress.Progress(total_bytes=1_000_000) as bars:
    for _ in range(4):
        bars(Result())
        time.sleep(0.15)
    bars.shard(1)
"""


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_appears_on_a_terminal_only(terminal: bool) -> None:
    leader, follower = pty.openpty()
    plain_read, plain_write = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "160"}
    stderr = follower if terminal else plain_write
    subprocess.run(
        [sys.executable, "-c", SCRIPT], stderr=stderr, stdout=subprocess.DEVNULL, env=environment, check=True
    )
    os.close(follower)
    os.close(plain_write)
    shown = os.read(leader, 1 << 20) if terminal else os.read(plain_read, 1 << 20)
    os.close(leader)
    os.close(plain_read)
    assert (b"records" in shown) is terminal
    assert (b"\x1b[" in shown) is terminal
