"""Progress: bars on a terminal, a line a minute in a log, nothing when quiet."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from stages.batch import ChunkResult

LOG_EVERY_S = 60.0


class Progress:
    """Called with each finished chunk. Use as a context manager."""

    def __init__(self, *, quiet: bool = False, total_bytes: int = 0) -> None:
        self.quiet = quiet
        self.total_bytes = total_bytes
        self.terminal = sys.stderr.isatty() and not quiet
        self.records = self.text_bytes = self.tokens = 0
        self._started = self._logged = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, result: ChunkResult) -> None:
        self.records += result.read
        self.text_bytes += result.text_bytes
        if result.examples is not None:
            self.tokens += int(result.examples.tokens_in.sum())
        now = time.monotonic()
        if self.terminal:
            self._draw()
        elif not self.quiet and now - self._logged >= LOG_EVERY_S:
            self._logged = now
            click.echo(f"progress: {self._rates(now)}", err=True)

    def _rates(self, now: float) -> str:
        elapsed = max(now - self._started, 1e-3)
        return (
            f"{self.records:,} records ({self.records / elapsed:,.0f}/s), {self.text_bytes / 1e6:,.0f} MB "
            f"({self.text_bytes / 1e6 / elapsed:.1f} MB/s), {self.tokens:,} tokens ({self.tokens / elapsed:,.0f}/s)"
        )

    def _draw(self) -> None:
        if self._bar is None:
            if time.monotonic() - self._started < 0.5:
                return  # too short a run for a bar, and rich takes a while to import
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            self._bar = Bars(
                TextColumn("preparing"), BarColumn(), TextColumn("{task.fields[rates]}", markup=False),
                TimeElapsedColumn(), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task("", total=self.total_bytes or None, rates="")
        self._bar.update(self._task, completed=self.text_bytes, rates=self._rates(time.monotonic()))
