"""Engines: where the work of a run is done. One engine serves every kind of task, chunks and shards.

inline      here, one task after the other: small inputs, or `workers: 1`
processes   supervised worker processes on this machine (the default)
ray         Ray tasks, here or over a cluster (`engine: ray`, `ray_address`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

TaskIn = TypeVar("TaskIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


class Engine(Protocol[TaskIn, ResultOut]):
    """Runs tasks and yields (index, result), in any order. A context manager; `run` may be called again once its
    results are taken."""

    def __enter__(self) -> Engine[TaskIn, ResultOut]: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def run(self, tasks: Iterable[TaskIn]) -> Iterator[tuple[int, ResultOut]]:
        """Yields (index of the task, its result) as results come. Raises the Fault of a task, or WorkerBug."""


TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


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


def in_order(results: Iterable[tuple[int, ResultT]]) -> Iterator[ResultT]:
    """Results of `Engine.run` in the order of their tasks. One that comes early waits for those before it."""
    waiting: dict[int, ResultT] = {}
    following = 0
    for index, result in results:
        waiting[index] = result
        while following in waiting:
            yield waiting.pop(following)
            following += 1


class Job(NamedTuple, Generic[TaskT, ResultT]):
    """What every worker runs. `prepare(context)` builds the per-process state once (tokenizer, compiled schemas);
    `run(state, task)` does one task; `name(task)` names it in an error. All three are module-level."""

    prepare: Callable[[Any], Any]
    run: Callable[[Any, TaskT], ResultT]
    name: Callable[[TaskT], str]
    context: Any


class WorkerBug(Exception):
    """A worker raised something that is no Fault: a bug of ours. Carries its traceback as text."""
