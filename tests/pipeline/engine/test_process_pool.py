"""Workers do every task once, survive a lost process, and say which chunk it was when they cannot."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine import Inline, Job, WorkerBug
from pipeline.engine.process_pool import IN_FLIGHT, Processes
from registry.errors import MachineFault, UsageFault, WorkerFault

ROOT = Path(__file__).parents[3]


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job[Any, Any]]:
    """A job by the name of its function in worker_jobs.py, which a spawned process can import as well."""
    jobs = importlib.import_module("tests.support.worker_jobs")
    return lambda name, context=None, prepare="same": Job(
        getattr(jobs, prepare), getattr(jobs, name), jobs.named, context
    )


def processes(job: Job[Any, Any], tasks: Iterable[Any], workers: int, **options: Any) -> Iterator[tuple[int, Any]]:
    """Runs the tasks in a team that ends with them."""
    with Processes(job, workers, **options) as team:
        yield from team.run(tasks)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


# --- all the work, once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 25])
def test_every_task_gives_one_result(job: Callable[..., Any], count: int) -> None:
    want = [(task, task * task) for task in range(count)]
    assert sorted(processes(job("square"), range(count), 2)) == want
    assert list(Inline(job("square")).run(range(count))) == want


def test_two_tasks_keep_two_workers_busy(job: Callable[..., Any]) -> None:
    done = [value for _, value in processes(job("slowly", 0.3), range(2), 2)]
    assert len({pid for _, pid in done}) == 2


def test_large_tasks_and_large_results_pass_each_other(job: Callable[..., Any]) -> None:
    """Both sides write more than a pipe holds, at the same time."""
    found = processes(job("echo"), [bytes(2 << 20)] * 6, 2)
    assert [len(value) for _, value in found] == [2 << 20] * 6


def test_tasks_are_drawn_as_they_are_needed(job: Callable[..., Any]) -> None:
    """Back-pressure: a source of any length never fills the memory."""
    drawn, most, done = 0, 0, 0

    def source() -> Iterator[int]:
        nonlocal drawn, most
        for task in range(40):
            drawn += 1
            most = max(most, drawn - done)
            yield task

    for _ in processes(job("square"), source(), 2):
        done += 1
    assert (drawn, done) == (40, 40)
    assert most <= 2 * IN_FLIGHT


def test_a_worker_runs_one_thread_and_the_parents_environment_stays(job: Callable[..., Any]) -> None:
    before = dict(os.environ)
    names = ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM"]
    assert dict(processes(job("environment"), names, 1)) == {0: "1", 1: "1", 2: "false"}
    assert dict(os.environ) == before


# --- lost workers -----------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_once_is_replaced(job: Callable[..., Any], tmp_path: Path) -> None:
    assert sorted(processes(job("dies_once", str(tmp_path)), range(8), 2)) == [(task, task) for task in range(8)]
    assert (tmp_path / "died").exists()


def test_a_chunk_that_kills_its_worker_twice_is_named(job: Callable[..., Any]) -> None:
    found = {}
    with pytest.raises(
        WorkerFault, match=r"died \(exit code -9\) twice on the same chunk: data.jsonl, records 3"
    ) as caught:
        found.update(processes(job("dies_always"), range(8), 2))
    assert caught.value.exit_code == 5
    assert "--workers 1" in caught.value.hint


def test_a_worker_that_cannot_even_start_ends_the_run(job: Callable[..., Any]) -> None:
    with pytest.raises(WorkerFault, match=r"died \(exit code 9\) twice"):
        list(processes(job("square", prepare="dies_while_preparing"), range(3), 2))


def test_a_silent_worker_is_replaced(job: Callable[..., Any], tmp_path: Path) -> None:
    found = sorted(processes(job("stops_once", str(tmp_path)), range(6), 2, silence_s=2.0))
    assert found == [(task, task) for task in range(6)]
    assert not is_alive(int((tmp_path / "stopped").read_text(encoding="utf-8")))


def test_a_long_task_is_not_taken_for_silence(job: Callable[..., Any]) -> None:
    found = list(processes(job("slowly", 3.0), range(1), 1, silence_s=2.0))
    assert [value[0] for _, value in found] == [0]


def test_a_slow_consumer_is_not_taken_for_silent_workers(job: Callable[..., Any]) -> None:
    """The time that the caller spends on a result must not count against the workers."""
    pids = set()
    for index, (_, pid) in processes(job("slowly", 0.5), range(6), 2, silence_s=2.0):
        pids.add(pid)
        if not index:
            time.sleep(3.0)
    assert len(pids) == 2, "nobody was replaced"


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hoards", "wants_the_moon"])
def test_a_worker_that_takes_too_much_memory_is_ended_with_a_word(job: Callable[..., Any], name: str) -> None:
    """One that grows, and one that asks for everything at once: which chunk it was, and what to do."""
    with (
        pytest.raises(MachineFault, match=r"memory.*data.jsonl, records 3") as caught,
        Processes(job(name), 2, memory_bytes=200 << 20) as team,
    ):
        list(team.run(range(6)))
    assert "memory_limit" in caught.value.hint


def test_a_limit_that_is_kept_to_changes_nothing(job: Callable[..., Any]) -> None:
    with Processes(job("square"), 2, memory_bytes=200 << 20) as team:
        assert sorted(team.run(range(6))) == [(task, task * task) for task in range(6)]


# --- what a task has to say -------------------------------------------------------------------------------------------


def test_a_fault_arrives_as_it_was_raised(job: Callable[..., Any]) -> None:
    with pytest.raises(UsageFault) as caught:
        list(processes(job("finds_a_fault"), range(8), 2))
    assert caught.value.problems == ("data.jsonl: first problem", "data.jsonl: second problem")
    assert (caught.value.hint, caught.value.exit_code) == ("look at it", 2)


def test_a_bug_arrives_with_its_traceback(job: Callable[..., Any]) -> None:
    with pytest.raises(WorkerBug, match="ZeroDivisionError") as caught:
        list(processes(job("has_a_bug"), range(8), 2))
    assert "in has_a_bug" in str(caught.value)


def test_an_error_that_looks_like_a_closed_pipe_is_still_reported(job: Callable[..., Any]) -> None:
    """A compressed file that ends early raises EOFError, as a closed pipe does."""
    with pytest.raises(WorkerBug, match="compressed file ended early"):
        list(processes(job("ends_early"), range(8), 2))


@pytest.mark.parametrize("tasks", [[lambda: 1], [1]])
def test_what_cannot_travel_is_reported_and_never_waited_for(job: Callable[..., Any], tasks: list[Any]) -> None:
    with pytest.raises(WorkerBug, match="pickle"):
        list(processes(job("unsendable"), tasks, 1))


def test_a_fault_in_the_source_of_tasks_ends_the_run(job: Callable[..., Any]) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise UsageFault("the file ends in the middle")

    with pytest.raises(UsageFault, match="ends in the middle"):
        list(processes(job("square"), source(), 2))


# --- how they end -----------------------------------------------------------------------------------------------------


def test_workers_end_with_the_run(job: Callable[..., Any]) -> None:
    run = processes(job("slowly", 0.1), range(50), 2)
    pids = {next(run)[1][1] for _ in range(6)}
    run.close()  # type: ignore[attr-defined]  # it is a generator: the caller lost interest
    assert not any(map(is_alive, pids))


def test_workers_leave_ctrl_c_to_the_parent(job: Callable[..., Any]) -> None:
    assert sorted(processes(job("is_interrupted"), range(3), 1)) == [(0, 0), (1, 1), (2, 2)]


def test_workers_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
        "from tests.support import worker_jobs as jobs\n"
        "from pipeline.engine.process_pool import Job, Processes\n"
        "if __name__ == '__main__':\n"
        "    team = Processes(Job(jobs.same, jobs.slowly, jobs.named, 0.2), 1)\n"
        "    for _, (_, pid) in team.run(range(1000)):\n"
        "        sys.stdout.write(f'{pid}\\n'); sys.stdout.flush()\n"
    )
    path = tmp_path / "parent.py"
    path.write_text(script, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not is_alive(worker), 10)
