"""Progress: bars on a terminal, a line a minute in a log, nothing when quiet.

    12,345 records (2,100/s), 45 MB (7.9 MB/s), 9,870,000 tokens (1,700,000/s), 0:21 left, mostly tokenize (58 %)

The time left is shown when the size of the text is known beforehand (no compressed file, no table, no URL). The slowest
stage is the one that took most of the workers' time so far.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import click

LOG_EVERY_S = 60.0
QUICK_S = 0.5  # a shorter run has no bar, and rich takes a while to import
STAGES = ("validate and render", "tokenize", "keep")  # as ChunkResult.seconds counts them


class Step(Protocol):
    """What is counted of a chunk's result."""

    @property
    def read(self) -> int: ...
    @property
    def text_bytes(self) -> int: ...


class Progress:
    """Called with each finished chunk. Use as a context manager."""

    def __init__(
        self, *, quiet: bool = False, total_bytes: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Shows nothing yet.

        Args:
            quiet: Never show anything.
            total_bytes: How much text there is, decompressed; 0 when that is not known.
            clock: Seconds, for tests.
        """
        self.quiet = quiet
        self.total_bytes = total_bytes
        self.terminal = sys.stderr.isatty() and not quiet
        self.records = self.text_bytes = self.tokens = self.shards = self.shard_count = 0
        self.seconds = [0.0] * len(STAGES)
        self._clock = clock
        self._started = self._logged = clock()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def expect(self, total_bytes: int) -> None:
        """How much text there is, in bytes; 0 when that is not known."""
        self.total_bytes = total_bytes

    def __call__(self, result: Step) -> None:
        """A chunk is done."""
        self.records += result.read
        self.text_bytes += result.text_bytes
        examples = getattr(result, "examples", None)
        if examples is not None:
            self.tokens += int(examples.tokens_in.sum())
        for stage, seconds in enumerate(getattr(result, "seconds", ())):
            self.seconds[stage] += seconds
        self._show()

    def shard(self, count: int) -> None:
        """One of `count` shards is written."""
        self.shards += 1
        self.shard_count = count
        self._show()

    def _show(self) -> None:
        now = self._clock()
        if self.terminal:
            self._draw(now)
        elif not self.quiet and now - self._logged >= LOG_EVERY_S:
            self._logged = now
            click.echo(f"progress: {self.line(now)}", err=True)

    def line(self, now: float) -> str:
        """Where the run is, in one line."""
        if self.shards:
            return f"writing shards: {self.shards} of {self.shard_count}"
        elapsed = max(now - self._started, 1e-3)
        parts = [
            f"{self.records:,} records ({self.records / elapsed:,.0f}/s)",
            f"{self.text_bytes / 1e6:,.0f} MB ({self.text_bytes / 1e6 / elapsed:.1f} MB/s)",
        ]
        if self.tokens:
            parts.append(f"{self.tokens:,} tokens ({self.tokens / elapsed:,.0f}/s)")
        if 0 < self.text_bytes <= self.total_bytes:
            left = int(elapsed * (self.total_bytes / self.text_bytes - 1) + 0.5)
            minutes, seconds = divmod(left, 60)
            hours, minutes = divmod(minutes, 60)
            parts.append(f"{hours}:{minutes:02d}:{seconds:02d} left" if hours else f"{minutes}:{seconds:02d} left")
        if (worked := sum(self.seconds)) > 0:
            slowest = max(range(len(STAGES)), key=self.seconds.__getitem__)
            parts.append(f"mostly {STAGES[slowest]} ({100 * self.seconds[slowest] / worked:.0f} %)")
        return ", ".join(parts)

    def _draw(self, now: float) -> None:
        if self._bar is None:
            if now - self._started < QUICK_S:
                return
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            self._bar = Bars(
                BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("{task.fields[line]}", markup=False),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total_bytes or None, line="")
        done, total = (self.shards, self.shard_count) if self.shards else (self.text_bytes, self.total_bytes)
        self._bar.update(self._task, completed=done, total=total or None, line=self.line(now))
