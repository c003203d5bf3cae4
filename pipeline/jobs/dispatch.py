"""What an engine runs for `prep validate` and `prep pack`: chunks and shards. A worker imports only what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.engine import Job

from . import check
from .specs import BatchSpec, Task, task_name

if TYPE_CHECKING:
    from .encode import State


class Release(NamedTuple):
    """No chunk will come any more: let go of the tokenizer, which writing shards does not need. One for each worker."""

    path: str = "no chunk"


def chunk_job(spec: BatchSpec) -> Job[Any, Any]:
    """The job for a run's chunks: they are encoded by `spec.encode`, or only checked without it. One that encodes takes
    `Release` and shards as well."""
    if spec.encode is None:
        return Job(check.prepare, check.run, task_name, spec)
    from .encode import prepare

    return Job(prepare, do_task, name_task, spec)


def do_task(state: State, task: Any) -> Any:
    """A chunk or a shard."""
    if isinstance(task, Task):
        from .encode import run

        return run(state, task)
    if isinstance(task, Release):
        return state.encoder.release()
    from stages.writers.shard import write_shard  # pyarrow, which checking records does not need

    return write_shard(state.encode_spec.cut, task)


def name_task(task: Any) -> str:
    """Which chunk or which shard, for an error."""
    return task_name(task) if isinstance(task, Task) else str(task.path)
