"""Choosing the engine of a run by its configuration and the size of its input."""

from __future__ import annotations

import sys

from pipeline.config import Config, worker_count
from registry.errors import UsageFault

from . import Engine, Inline, Job, ResultT, TaskT
from .limits import limit_fault
from .process_pool import Processes

SMALL_INPUT_BYTES = 8 << 20  # below this, starting workers takes longer than the work
PROCESS_BYTES = 400 << 20  # a process at work on chunks of the usual size, tokenizer included


def open_engine(config: Config, job: Job[TaskT, ResultT], input_bytes: int) -> Engine[TaskT, ResultT]:
    """The engine for a job, by `engine`, `workers`, `memory_limit` and `ray_address`.

    Args:
        config: The configuration of the run.
        job: What every worker runs.
        input_bytes: Size of the input on disk; a small one stays in this process.

    Raises:
        UsageFault: memory_limit is too small for one worker.
        MachineFault: Ray is requested and not installed, or its cluster cannot be reached.
    """
    if config.text("engine") == "ray":
        from .ray import RayEngine

        return RayEngine(job, address=config.text("ray_address"), workers=worker_count(config))
    if is_inline(config, input_bytes):
        return Inline(job)
    workers, limit = team_size(config), config.whole("memory_limit")
    try:
        return Processes(job, workers, memory_bytes=limit // (workers + 1) if limit else None)
    except (OSError, RuntimeError) as error:
        if limit or (fault := limit_fault(error)) is None:
            raise
        print(f"prep: {fault.problems[0]}; the work is done in this process", file=sys.stderr)
        return Inline(job)


def team_size(config: Config) -> int:
    """Worker processes: as many as requested, and no more than fit into `memory_limit` beside the parent.

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
