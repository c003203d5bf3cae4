"""What an engine runs: a chunk or a shard. Apart from `engines`, so that a worker imports no more than it needs."""

from __future__ import annotations

from typing import Any, NamedTuple

from stages.batch import State, Task, run, task_name


class Release(NamedTuple):
    """No chunk will come any more: let go of the tokenizer, which writing shards does not need. One for each worker."""

    path: str = "no chunk"


def do_task(state: State, task: Any) -> Any:
    """A chunk or a shard."""
    if isinstance(task, Task):
        return run(state, task)
    if isinstance(task, Release):
        return state.release()
    from stages.write import write_shard  # pyarrow, which checking records does not need

    return write_shard(state.spec.encode.cut, task)


def name_task(task: Any) -> str:
    """Which chunk or which shard, for an error."""
    return task_name(task) if isinstance(task, Task) else str(task.path)
