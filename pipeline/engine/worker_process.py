"""The life of one worker process: prepare, then a task a message, within its share of memory."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

from registry.errors import Fault, MachineFault

from . import Job

_Message = tuple[str, int, Any]  # kind, index of the task (-1: of none), value

LOOK_AT_MEMORY_S = 0.1
RESERVED_BYTES = 4 << 30  # address space that allocators reserve without using it


def main(pipe: connection.Connection, job: Job[Any, Any], beat_s: float, memory_bytes: int | None = None) -> None:
    """A worker's life: prepare, then a task a message until the pipe closes.

    Sends (kind, index, value): "result" for each task, "beat" as a sign of life, and last "fault" with a Fault or "bug"
    with a traceback when something was raised.

    Args:
        pipe: To the parent; (index, task) come in.
        job: What to run.
        beat_s: Seconds between signs of life.
        memory_bytes: Resident memory above which the process ends itself, after a fault that names the task; None for
            no limit.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    lock = threading.Lock()
    at = ["starting"]

    def send(message: _Message) -> None:
        with lock:
            pipe.send(message)

    def beat() -> None:
        while True:
            time.sleep(beat_s)
            try:
                send(("beat", -1, None))
            except OSError:
                os._exit(1)  # the parent is gone

    def out_of_memory(how: str) -> None:
        hint = "give a larger memory_limit, or fewer workers: --workers 1"
        with contextlib.suppress(OSError):
            send(("fault", -1, MachineFault(f"a worker {how}, at {at[0]}", hint=hint)))

    def watch(most_bytes: int) -> None:
        while (held := _resident_bytes()) <= most_bytes:
            time.sleep(LOOK_AT_MEMORY_S)
        share = f"{most_bytes >> 20} MiB, its share of memory_limit"
        out_of_memory(f"needs more memory than it may take ({held >> 20} MiB; {share})")
        os._exit(1)

    threading.Thread(target=beat, daemon=True).start()
    if memory_bytes is not None:
        _limit_address_space(memory_bytes + RESERVED_BYTES)
        threading.Thread(target=watch, args=(memory_bytes,), daemon=True).start()
    try:
        _work(pipe, job, send, at)
    except Fault as fault:
        with contextlib.suppress(OSError):
            send(("fault", -1, fault))
    except MemoryError:
        out_of_memory("ran out of memory")
    except BaseException:
        with contextlib.suppress(OSError):
            send(("bug", -1, traceback.format_exc()))


def _work(pipe: connection.Connection, job: Job[Any, Any], send: Callable[[_Message], None], at: list[str]) -> None:
    """Task after task until the pipe closes. at: gets the name of the one being done."""
    state = job.prepare(job.context)
    while True:
        try:
            index, task = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        at[0] = job.name(task)
        result = job.run(state, task)  # may raise EOFError as well: a file that ends early
        try:
            send(("result", index, result))
        except (BrokenPipeError, ConnectionResetError):
            return


def _resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as handle:
            return int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _limit_address_space(most_bytes: int) -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = most_bytes if hard == resource.RLIM_INFINITY else min(most_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
