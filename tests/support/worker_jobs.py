"""Jobs for the worker tests. In a file of their own, as a spawned process has to import them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from registry.errors import UsageFault


def same(context: Any) -> Any:
    """The state is the context."""
    return context


def named(task: Any) -> str:
    """As a chunk would be named."""
    return f"data.jsonl, records {task}"


def square(_: Any, task: int) -> int:
    """Plain work."""
    return task * task


def slowly(seconds: float, task: int) -> tuple[int, int]:
    """Work that takes a while; the result says which process did it."""
    time.sleep(seconds)
    return task, os.getpid()


def dies_once(folder: str, task: int) -> int:
    """Task 3 kills its process the first time it runs."""
    mark = Path(folder) / "died"
    if task == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def dies_always(_: Any, task: int) -> int:
    """Task 3 kills its process whenever it runs."""
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def dies_while_preparing(_: Any) -> Any:
    """No task is ever reached."""
    os._exit(9)


def stops_once(folder: str, task: int) -> int:
    """Task 3 stops its process (as a machine out of memory may) the first time it runs."""
    mark = Path(folder) / "stopped"
    if task == 3 and not mark.exists():
        mark.write_text(str(os.getpid()), encoding="utf-8")
        os.kill(os.getpid(), signal.SIGSTOP)
    return task


def finds_a_fault(_: Any, task: int) -> int:
    """Task 3 has something to explain."""
    if task == 3:
        raise UsageFault(["data.jsonl: first problem", "data.jsonl: second problem"], hint="look at it")
    return task


def has_a_bug(_: Any, task: int) -> int:
    """Task 3 meets a mistake of ours."""
    return 1 // (task - 3)


def ends_early(_: Any, task: int) -> int:
    """Task 3 reads a file that stops in the middle, which raises what a closed pipe raises too."""
    if task == 3:
        raise EOFError("compressed file ended early")
    return task


def echo(_: Any, task: bytes) -> bytes:
    """A result as large as its task."""
    return bytes(len(task))


def unsendable(_: Any, task: int) -> Any:
    """A result that cannot travel."""
    return lambda: task


def is_interrupted(_: Any, task: int) -> int:
    """Ctrl-C reaches the whole process group."""
    os.kill(os.getpid(), signal.SIGINT)
    return task


def environment(_: Any, task: str) -> str | None:
    """What the libraries of a worker see."""
    return os.environ.get(task)


def hoards(_: Any, task: int) -> int:
    """Task 3 takes 300 MiB and keeps it for a while."""
    held = bytearray(300 << 20) if task == 3 else b""
    if held:
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(5)
    return task


def wants_the_moon(_: Any, task: int) -> int:
    """Task 3 asks for more address space than any limit gives."""
    return len(bytearray(1 << 40)) if task == 3 else task
