"""Engines: where the work of a run is done. Every command opens its own here, so that all keep to the same settings.

inline      here, one task after the other: small inputs, or `workers: 1`
processes   supervised worker processes on this machine (the default)
ray         Ray tasks, here or over a cluster (`engine: ray`, `ray_address`)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from registry.errors import UsageFault

from .config import Config, worker_count
from .workers import Job, Processes, ResultT, TaskT

SMALL_INPUT_BYTES = 8 << 20  # below this, starting workers takes longer than the work
PROCESS_BYTES = 400 << 20  # a process at work on chunks of the usual size, tokenizer included


TaskIn = TypeVar("TaskIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


class Engine(Protocol[TaskIn, ResultOut]):
    """Runs tasks and yields (index, result), in any order. A context manager; `run` may be called again once its
    results are taken."""

    def __enter__(self) -> Engine[TaskIn, ResultOut]: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def run(self, tasks: Iterable[TaskIn]) -> Iterator[tuple[int, ResultOut]]: ...


@dataclass
class Inline(Generic[TaskT, ResultT]):
    """Everything in this process."""

    job: Job[TaskT, ResultT]
    _state: Any = None

    def __enter__(self) -> Inline[TaskT, ResultT]:
        return self

    def __exit__(self, *_: object) -> None:
        self._state = None

    def run(self, tasks: Iterable[TaskT]) -> Iterator[tuple[int, ResultT]]:
        """See `Engine`."""
        if self._state is None:
            self._state = self.job.prepare(self.job.context)
        for index, task in enumerate(tasks):
            yield index, self.job.run(self._state, task)


def open_engine(config: Config, job: Job[TaskT, ResultT], input_bytes: int) -> Engine[TaskT, ResultT]:
    """The engine for a job over this many bytes, as `engine`, `workers`, `memory_limit` and `ray_address` say.

    Raises UsageFault when memory_limit is too small for one worker, MachineFault when Ray is wanted and not there.
    """
    if config.text("engine") == "ray":
        from .ray_engine import RayEngine

        return RayEngine(job, address=config.text("ray_address"), workers=worker_count(config))
    if is_inline(config, input_bytes):
        return Inline(job)
    workers, limit = team_size(config), config.whole("memory_limit")
    return Processes(job, workers, memory_bytes=limit // (workers + 1) if limit else None)


def in_order(results: Iterable[tuple[int, ResultT]]) -> Iterator[ResultT]:
    """Results of `Engine.run` in the order of their tasks. One that comes early waits for those before it."""
    waiting: dict[int, ResultT] = {}
    following = 0
    for index, result in results:
        waiting[index] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


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
