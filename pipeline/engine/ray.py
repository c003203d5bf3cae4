"""The Ray engine: the same chunk and shard functions as Ray tasks, on this machine or over a cluster.

    driver   scans the input, hands out tasks (at most two a CPU in flight), takes results as they finish
    workers  build their state once (tokenizer, compiled schemas) and keep it; a lost one is retried by Ray

Results are a function of the task alone, so the bytes are those of the local engine. OUT, with its cache, has to be a
folder that every node sees under the same path; so has the input, unless it is a URL. A cluster that is started here is
bound to 127.0.0.1 and has no dashboard.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.installation import install_command
from registry.errors import Fault, MachineFault, WorkerFault

from . import Job, WorkerBug

IN_FLIGHT = 2  # tasks a CPU
RETRIES = 1  # after the loss of a worker or node


class RayEngine:
    """See `pipeline.engine.Engine`."""

    def __init__(self, job: Job[Any, Any], *, address: str | None, workers: int) -> None:
        """Connects to a cluster, or starts one.

        Args:
            job: What every Ray task runs.
            address: Of a running cluster ("auto" finds it); None starts one here.
            workers: CPUs of a cluster that is started here.

        Raises:
            MachineFault: Ray is not installed, or the cluster cannot be reached.
        """
        try:
            import ray
        except ModuleNotFoundError:
            raise MachineFault("engine: ray is not installed", hint=install_command("ray")) from None
        self.job = job
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
            environment = {
                "env_vars": {"PYTHONPATH": root, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
            }
            options: dict[str, Any] = {"log_to_driver": False, "runtime_env": environment, "logging_level": "ERROR"}
            if address is None:
                options |= {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            else:
                options["address"] = address
            try:
                ray.init(**options)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise MachineFault(f"engine: ray: {str(error).splitlines()[0]}", hint="check --ray-address") from error
        self._slots = max(int(ray.cluster_resources().get("CPU", workers)), 1) * IN_FLIGHT

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours and self._ray.is_initialized():
            self._ray.shutdown()

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Runs the tasks. Yields (index, result) as they finish."""
        ray = self._ray
        remote = ray.remote(max_retries=RETRIES, retry_exceptions=False)(do_remote)
        shared = ray.put(self.job)
        source = enumerate(tasks)
        running: dict[Any, tuple[int, Any]] = {}
        exhausted = False
        while True:
            while not exhausted and len(running) < self._slots:
                drawn = next(source, None)
                if drawn is None:
                    exhausted = True
                    break
                running[remote.remote([shared], drawn[1])] = drawn
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                index, task = running.pop(reference)
                yield index, self._value(reference, task)

    def _value(self, reference: Any, task: Any) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, Fault):
                raise cause from None
            raise WorkerBug(str(error)) from None
        except exceptions.RayError as error:  # the worker or its node was lost, more than once
            what = str(error).splitlines()[0]
            raise WorkerFault(f"a worker was lost twice on the same chunk: {self.job.name(task)}: {what}") from None


_states: dict[str, Any] = {}


def do_remote(shared: list[Any], task: Any) -> Any:
    """One task in a Ray worker; the job's state is built once a process."""
    import ray

    key = shared[0].hex()
    if key not in _states:
        job: Job[Any, Any] = ray.get(shared[0])
        _states.clear()
        _states[key] = job, job.prepare(job.context)
    job, state = _states[key]
    return job.run(state, task)
