"""Engines: where the work of a run is done. One engine serves both kinds of task, chunks and shards.

inline      here, one task after the other: small inputs, or `workers: 1`
processes   supervised worker processes on this machine (the default)
    ray         Ray tasks, here or over a cluster (`engine: ray`, `ray_address`)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from stages.batch import BatchSpec, State, Task, prepare, run, task_name

from .config import Config, worker_count
from .workers import Job, Processes

SMALL_INPUT_BYTES = 8 << 20  # below this, starting workers takes longer than the work


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
    workers = worker_count(config)
    if config.text("engine") == "ray":
        from .ray_engine import RayEngine

        return RayEngine(job, address=config.text("ray_address"), workers=workers)
    if is_inline(config, input_bytes):
        return Inline(job)
    return Processes(job, workers)


def is_inline(config: Config, input_bytes: int) -> bool:
    """Whether a run of this size stays in this process."""
    if config.text("engine") == "ray":
        return False
    return config.text("engine") == "inline" or worker_count(config) <= 1 or input_bytes < SMALL_INPUT_BYTES


def do_task(state: State, task: Any) -> Any:
    """A chunk or a shard."""
    if isinstance(task, Task):
        return run(state, task)
    from stages.write import write_shard  # pyarrow, which checking records does not need

    return write_shard(state.spec.encode.cut, task)


def name_task(task: Any) -> str:
    """Which chunk or which shard, for an error."""
    return task_name(task) if isinstance(task, Task) else str(task.path)
