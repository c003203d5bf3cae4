"""A worker's life: a result for each task, and a last word when it ends for another reason than a closed pipe."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.engine import Job, worker_process
from pipeline.engine.worker_process import main
from registry.errors import MachineFault, UsageFault
from tests.support import worker_jobs as jobs

NEVER_S = 1e6  # between two signs of life


class Pipe:
    """A pipe whose other end sends these tasks and closes."""

    def __init__(self, *tasks: Any, broken: bool = False) -> None:
        self.tasks = list(enumerate(tasks))
        self.broken = broken
        self.sent: list[tuple[str, int, Any]] = []

    def recv(self) -> tuple[int, Any]:
        if not self.tasks:
            raise EOFError
        return self.tasks.pop(0)

    def send(self, message: tuple[str, int, Any]) -> None:
        if self.broken:
            raise BrokenPipeError
        self.sent.append(message)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A worker leaves Ctrl-C to its parent; the test's process gets its own handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def live(pipe: Pipe, run: Any, prepare: Any = jobs.same, memory_bytes: int | None = None) -> list[tuple[str, int, Any]]:
    main(pipe, Job(prepare, run, jobs.named, None), NEVER_S, memory_bytes)  # type: ignore[arg-type]
    return pipe.sent


def test_every_task_has_its_result_until_the_pipe_closes() -> None:
    assert live(Pipe(2, 3), jobs.square) == [("result", 0, 4), ("result", 1, 9)]


def test_a_parent_that_is_gone_ends_the_worker_in_silence() -> None:
    assert live(Pipe(2, broken=True), jobs.square) == []


def test_a_fault_is_sent_as_it_was_raised_and_is_the_last_word() -> None:
    *results, (kind, _, fault) = live(Pipe(1, 3, 5), jobs.finds_a_fault)
    assert results == [("result", 0, 1)]
    assert kind == "fault" and isinstance(fault, UsageFault) and fault.hint == "look at it"


@pytest.mark.parametrize("run", [jobs.has_a_bug, jobs.ends_early])
def test_a_bug_is_sent_with_its_traceback(run: Any) -> None:
    """A file that ends early raises EOFError, as a closed pipe does, and is no reason to end in silence."""
    ((kind, _, text),) = live(Pipe(3), run)
    assert kind == "bug" and f"in {run.__name__}" in text


def test_a_failed_start_is_a_bug_too() -> None:
    def prepare(_: object) -> None:
        raise ValueError("no state")

    ((kind, _, text),) = live(Pipe(3), jobs.square, prepare)
    assert kind == "bug" and "no state" in text


def test_running_out_of_memory_names_the_task_and_what_to_do() -> None:
    def run(_: object, task: int) -> int:
        raise MemoryError

    ((kind, _, fault),) = live(Pipe(3), run)
    assert kind == "fault" and isinstance(fault, MachineFault)
    assert "ran out of memory, at data.jsonl, records 3" in fault.problems[0]
    assert "memory_limit" in fault.hint


def test_a_worker_above_its_share_of_memory_says_so_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(worker_process.os, "_exit", lambda code: ended.set())
    monkeypatch.setattr(worker_process, "_limit_address_space", lambda most: None)
    monkeypatch.setattr(worker_process, "_resident_bytes", lambda: 300 << 20)

    def run(_: object, task: int) -> int:
        assert ended.wait(10)
        return task

    pipe = Pipe(3)
    live(pipe, run, memory_bytes=200 << 20)
    kind, _, fault = pipe.sent[0]
    assert kind == "fault" and isinstance(fault, MachineFault)
    assert "(300 MiB; 200 MiB, its share of memory_limit)" in fault.problems[0]
