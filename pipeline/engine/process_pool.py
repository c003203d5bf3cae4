"""Workers: the same chunk function in supervised worker processes.

    tasks ──> processes ──outbox──> worker ──┐        outbox, inbox: one thread each a worker, so that a large task or
                  ^                          │        result never stops the parent, and a stopped worker never does
                  └─────────inbox────────────┘

`Processes` keeps N spawned workers busy and never more than two tasks a worker in flight (back-pressure). A worker that
dies, or is silent for `SILENCE_S`, is replaced and its task retried once; the second loss ends the run with a
WorkerFault that names the task. Workers ignore Ctrl-C: the parent decides, and a worker whose parent is gone ends at
its next message. Results come as they finish; `pipeline.engine.in_order` gives them in the order of the tasks.

`memory_bytes` bounds each worker: a thread in it watches its resident memory, and RLIMIT_AS, which also counts what
libraries reserve and never touch, stands behind it with room for that.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import get_context, resource_tracker
from typing import Any, Generic

from registry.errors import WorkerFault

from . import Job, ResultT, TaskT, WorkerBug
from .worker_process import main

SILENCE_S = 60.0
BEAT_S = 2.0
LOOK_S = 1.0  # the parent looks after its workers at least this often
IN_FLIGHT = 2  # tasks a worker has at a time: the one it does and the next one


class _Worker:
    """One process and what it is doing.

    pending: its tasks' indices, oldest first. unheard_s: how long the parent has listened to it in vain.
    """

    def __init__(
        self,
        job: Job[Any, Any],
        inbox: queue.SimpleQueue[tuple[_Worker, Any]],
        beat_s: float,
        memory_bytes: int | None = None,
    ) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe(duplex=True)
        environment = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        saved = {key: os.environ.get(key) for key in environment}
        os.environ.update(environment)  # read by the libraries when the child imports them
        resource_tracker.ensure_running()  # it would unblock the signal that is blocked next
        # a worker that is still importing must not answer Ctrl-C with a traceback; `_main` ignores it, then unblocks
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process = context.Process(target=main, args=(theirs, job, beat_s, memory_bytes), daemon=True)
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for key, value in saved.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value
        theirs.close()
        self.pending: deque[int] = deque()
        self.unheard_s = 0.0
        self.was_silent = False
        self.inbox = inbox
        self.outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._speak, self._listen)]
        try:
            for thread in self.threads:
                thread.start()
        except BaseException:
            self.process.kill()
            self.process.join(5.0)
            raise

    def _speak(self) -> None:
        try:
            while (message := self.outbox.get()) is not None:
                self.pipe.send(message)
        except OSError:
            return  # it is gone: `_listen` reports it
        except Exception:
            self.inbox.put((self, ("bug", -1, traceback.format_exc())))

    def _listen(self) -> None:
        try:
            while True:
                self.inbox.put((self, self.pipe.recv()))
        except (EOFError, OSError):
            self.inbox.put((self, ("gone", -1, None)))
        except Exception:
            self.inbox.put((self, ("bug", -1, traceback.format_exc())))

    def give(self, index: int, task: Any) -> None:
        self.pending.append(index)
        self.outbox.put((index, task))

    def end(self) -> None:
        """Ends the process, if need be by force, and both threads with it."""
        self.outbox.put(None)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(1.0)
            if self.process.is_alive():  # stopped processes take no SIGTERM
                self.process.kill()
        self.process.join(5.0)
        for thread in self.threads:
            thread.join(1.0)
        with contextlib.suppress(OSError):
            self.pipe.close()


class Processes(Generic[TaskT, ResultT]):
    """A team of spawned workers that stays between runs, so that a second kind of task starts at once.

    Use it in a `with`, or `close` it. `run` may be called again once its results are taken.
    """

    def __init__(
        self,
        job: Job[TaskT, ResultT],
        workers: int,
        *,
        silence_s: float = SILENCE_S,
        memory_bytes: int | None = None,
    ) -> None:
        """Starts the workers.

        Args:
            job: What every worker runs; it is sent by pickle.
            workers: How many processes.
            silence_s: A worker that gives no sign of life for so long is taken for lost, and replaced.
            memory_bytes: What each worker may take; one that takes more ends the run with a MachineFault.
        """
        self.job = job
        self.silence_s = silence_s
        self._inbox: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
        self._beat_s = min(BEAT_S, silence_s / 4)
        self._memory_bytes = memory_bytes
        self._team: list[_Worker] = []
        try:
            for _ in range(workers):
                self._team.append(self._worker())
        except BaseException:  # no further process may be started
            self.close()
            raise

    def _worker(self) -> _Worker:
        return _Worker(self.job, self._inbox, self._beat_s, self._memory_bytes)

    def __enter__(self) -> Processes[TaskT, ResultT]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends every worker."""
        for worker in self._team:  # all at once, before waiting for each
            worker.process.terminate()
        for worker in self._team:
            worker.end()
        self._team = []

    def run(self, tasks: Iterable[TaskT]) -> Iterator[tuple[int, ResultT]]:
        """Runs the tasks. Yields (index, result) as they finish.

        Raises WorkerFault when a task loses its worker twice, the Fault of a task, or WorkerBug.
        """
        source = enumerate(tasks)
        running: dict[int, TaskT] = {}
        lost: set[int] = set()
        again: deque[int] = deque()  # tasks to hand out once more
        looked = time.monotonic()
        for worker in self._team:
            worker.unheard_s = 0.0
        while True:
            _hand_out(self._team, source, running, again)
            if not running:
                return
            message: tuple[_Worker, Any] | None = None
            with contextlib.suppress(queue.Empty):
                message = self._inbox.get(timeout=LOOK_S)
            now = time.monotonic()
            # a long gap is ours (a slow consumer, a suspended run), and no sign of lost workers
            _look_after(self._team, min(now - looked, LOOK_S), self.silence_s)
            looked = now
            if message is None:
                continue
            worker, (kind, index, value) = message
            worker.unheard_s = 0.0
            if kind == "result":
                worker.pending.remove(index)
                del running[index]
                yield index, value
            elif kind == "fault":
                raise value
            elif kind == "bug":
                raise WorkerBug(value)
            elif kind == "gone" and worker in self._team:
                worker.end()
                self._team.remove(worker)
                if worker.pending:
                    _count_loss(worker, self.job, running, lost)
                    again.extend(worker.pending)
                self._team.append(self._worker())


def _hand_out(
    team: list[_Worker], source: Iterator[tuple[int, TaskT]], running: dict[int, TaskT], again: deque[int]
) -> None:
    for depth in range(1, IN_FLIGHT + 1):  # everyone has one before anyone has two
        for worker in team:
            if len(worker.pending) >= depth:
                continue
            if again:
                index = again.popleft()
            else:
                drawn = next(source, None)
                if drawn is None:
                    return
                index, running[index] = drawn
            worker.give(index, running[index])


def _look_after(team: list[_Worker], passed_s: float, silence_s: float) -> None:
    for worker in team:
        if worker.pending and not worker.was_silent:
            worker.unheard_s += passed_s
            if worker.unheard_s > silence_s:
                worker.was_silent = True
                worker.process.kill()  # then it is "gone", as one that died


def _count_loss(worker: _Worker, job: Job[TaskT, Any], running: dict[int, TaskT], lost: set[int]) -> None:
    first = worker.pending[0]  # the one it was on; the next one had not been started
    if first in lost:
        what = "was silent" if worker.was_silent else f"died (exit code {worker.process.exitcode})"
        raise WorkerFault(
            f"a worker {what} twice on the same chunk: {job.name(running[first])}",
            hint="run `prep validate` on that file alone; if it needs much memory, use --workers 1",
        )
    lost.add(first)
