"""Engines: where the work of a run is done. One engine serves both kinds of task, chunks and shards.

inline      here, one task after the other: small inputs, or `workers: 1`
processes   supervised worker processes on this machine (the default)
ray         Ray tasks, here or over a cluster (`engine: ray`, `ray_address`)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from registry.errors import UsageFault
from stages.batch import BatchSpec, prepare

from .config import Config, worker_count
from .tasks import do_task, name_task
from .workers import Job, Processes

SMALL_INPUT_BYTES = 8 << 20  # below this, starting workers takes longer than the work
PROCESS_BYTES = 400 << 20  # a process at work on chunks of the usual size, tokenizer included


class Engine(Protocol):
    """Runs tasks and yields (index, result), in any order. A context manager."""

    def __enter__(self) -> Engine: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]: ...


@dataclass
class Inline:
    """Everything in this process."""

    job: Job[Any, Any]
    _state: Any = None

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None:
        self._state = None

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """See `Engine`."""
        if self._state is None:
            self._state = self.job.prepare(self.job.context)
        for index, task in enumerate(tasks):
            yield index, self.job.run(self._state, task)


def open_engine(config: Config, spec: BatchSpec, input_bytes: int) -> Engine:
    """The engine for a run over this many bytes."""
    job: Job[Any, Any] = Job(prepare, do_task, name_task, spec)
    if config.text("engine") == "ray":
        from .ray_engine import RayEngine

        return RayEngine(job, address=config.text("ray_address"), workers=worker_count(config))
    if is_inline(config, input_bytes):
        return Inline(job)
    workers, limit = team_size(config), config.whole("memory_limit")
    return Processes(job, workers, memory_bytes=limit // (workers + 1) if limit else None)


def team_size(config: Config) -> int:
    """Worker processes: as many as asked for, and no more than fit into `memory_limit` beside the parent.

    Raises UsageFault when not even one fits.
    """
    workers, limit = worker_count(config), config.whole("memory_limit")
    if not limit:
        return workers
    if limit < 2 * PROCESS_BYTES:
        raise UsageFault(
            f"memory_limit: {limit >> 20} MiB are too few: one worker and the process that leads it need about "
            f"{2 * PROCESS_BYTES >> 20} MiB",
            hint="give at least 1GB, or leave it out",
        )
    return min(workers, limit // PROCESS_BYTES - 1)


def is_inline(config: Config, input_bytes: int) -> bool:
    """Whether a run of this size stays in this process."""
    if config.text("engine") == "ray":
        return False
    if config.text("engine") == "inline" or input_bytes < SMALL_INPUT_BYTES:
        return True
    return worker_count(config) <= 1 and not config.whole("memory_limit")  # a limit needs a process that can be ended
