"""Engines: the same chunk function, in this process or in supervised worker processes.

`inline` runs tasks one after the other. `processes` keeps N spawned workers busy and never more than two tasks a worker in
flight (back-pressure). A worker that dies, or is silent for `SILENCE_S`, is replaced and its task retried once; the second
loss ends the run with a WorkerFault that names the task. Workers ignore Ctrl-C: the parent decides, and a worker whose
parent is gone ends at its next message. Results come as they finish; whoever needs order sorts by task index.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection, get_context
from typing import Any, Generic, NamedTuple, TypeVar

from registry.errors import Fault, WorkerFault

SILENCE_S = 60.0
BEAT_S = 2.0

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


class Job(NamedTuple, Generic[TaskT, ResultT]):
    """What every worker runs. `prepare(context)` builds the per-process state once (tokenizer, compiled schemas);
    `run(state, task)` does one task; `name(task)` says in an error which one it was. All three are module-level."""

    prepare: Callable[[Any], Any]
    run: Callable[[Any, TaskT], ResultT]
    name: Callable[[TaskT], str]
    context: Any


class WorkerBug(Exception):
    """A worker raised something that is no Fault: a bug of ours. Carries its traceback as text."""


def inline(job: Job[TaskT, ResultT], tasks: Iterable[TaskT]) -> Iterator[tuple[int, ResultT]]:
    """Runs the tasks here. Yields (index, result)."""
    state = job.prepare(job.context)
    for index, task in enumerate(tasks):
        yield index, job.run(state, task)


class _Worker:
    """One process and what it is doing: `pending` holds its tasks' indices, oldest first."""

    def __init__(self, job: Job[Any, Any], threads: int) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe(duplex=True)
        environment = {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        saved = {key: os.environ.get(key) for key in environment}
        os.environ.update(environment)  # read by the libraries when the child imports them
        try:
            self.process = context.Process(target=_main, args=(theirs, job), daemon=True)
            self.process.start()
        finally:
            for key, value in saved.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value
        theirs.close()
        self.pending: deque[int] = deque()
        self.last_beat = time.monotonic()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.close()
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(1.0)
            if self.process.is_alive():
                self.process.kill()
        self.process.join(5.0)


def processes(
    job: Job[TaskT, ResultT], tasks: Iterable[TaskT], workers: int, *, silence_s: float = SILENCE_S
) -> Iterator[tuple[int, ResultT]]:
    """Runs the tasks in `workers` spawned processes. Yields (index, result) as they finish.

    Raises WorkerFault when a task loses its worker twice, the Fault of a task, or WorkerBug.
    """
    source = enumerate(tasks)
    running: dict[int, TaskT] = {}
    lost: set[int] = set()
    waiting: deque[int] = deque()  # tasks to hand out again
    exhausted = False
    team = [_Worker(job, threads=1) for _ in range(workers)]
    try:
        while True:
            for worker in team:
                while len(worker.pending) < 2:
                    if waiting:
                        index = waiting.popleft()
                    else:
                        if exhausted:
                            break
                        try:
                            index, task = next(source)
                        except StopIteration:
                            exhausted = True
                            break
                        running[index] = task
                    worker.pending.append(index)
                    try:
                        worker.pipe.send((index, running[index]))
                    except OSError:
                        break  # it died: found below by its sentinel
            if not running:
                return
            yield from _collect(team, running)
            for place, worker in enumerate(team):
                silent = bool(worker.pending) and time.monotonic() - worker.last_beat > silence_s
                if worker.process.is_alive() and not silent:
                    continue
                if worker.process.is_alive() or worker.process.exitcode is not None:
                    yield from _drain(worker, running)  # results it sent before it died still count
                if worker.pending:
                    first = worker.pending[0]  # the one it was on; the second had not been started
                    if first in lost:
                        what = "was silent" if silent else f"died (exit code {worker.process.exitcode})"
                        raise WorkerFault(
                            f"a worker {what} twice on the same chunk: {job.name(running[first])}",
                            hint="run `prep validate` on that file alone; if it needs much memory, use --workers 1",
                        )
                    lost.add(first)
                    waiting.extend(worker.pending)
                worker.stop()
                team[place] = _Worker(job, threads=1)
    finally:
        for worker in team:
            worker.stop()


def _collect(team: list[_Worker], running: dict[int, TaskT]) -> Iterator[tuple[int, Any]]:
    waits: list[Any] = [worker.pipe for worker in team] + [worker.process.sentinel for worker in team]
    ready = connection.wait(waits, timeout=1.0)
    for worker in team:
        if worker.pipe in ready:
            yield from _drain(worker, running)


def _drain(worker: _Worker, running: dict[int, TaskT]) -> Iterator[tuple[int, Any]]:
    while True:
        try:
            if not worker.pipe.poll():
                return
            kind, index, value = worker.pipe.recv()
        except (EOFError, OSError):
            return
        worker.last_beat = time.monotonic()
        if kind == "beat":
            continue
        if kind == "fault":
            raise value
        if kind == "bug":
            raise WorkerBug(value)
        worker.pending.remove(index)
        del running[index]
        yield index, value


def _main(pipe: connection.Connection, job: Job[Any, Any]) -> None:
    """A worker's life: prepare, then a task a message until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    lock = threading.Lock()

    def send(message: tuple[str, int, Any]) -> None:
        with lock:
            pipe.send(message)

    def beat() -> None:
        while True:
            time.sleep(BEAT_S)
            try:
                send(("beat", -1, None))
            except OSError:
                os._exit(1)  # the parent is gone

    threading.Thread(target=beat, daemon=True).start()
    try:
        state = job.prepare(job.context)
        while True:
            index, task = pipe.recv()
            send(("result", index, job.run(state, task)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Fault as fault:
        send(("fault", -1, fault))
    except KeyboardInterrupt:
        return
    except BaseException:
        with contextlib.suppress(OSError):
            send(("bug", -1, traceback.format_exc()))
