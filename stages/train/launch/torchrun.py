"""How a run is started: in this process, or through torchrun, which starts one worker for each device.

    RANK, WORLD_SIZE, LOCAL_RANK     this process is a worker already (torchrun, srun with exports, MPI)
    RANK, WORLD_SIZE alone           they count nodes (Kubeflow, PAI-DLC): the number of nodes and this node's
    inside srun with several tasks   a worker too: Slurm's variables are given torch's names
    NNODES > 1, several devices,     `python -m torch.distributed.run ... -m stages.train prep_job.json`
    a DeepSpeed file, FORCE_TORCHRUN
    otherwise                        in this process

The variable names are LLaMA-Factory's (NNODES, NODE_RANK, NPROC_PER_NODE, MASTER_ADDR, MASTER_PORT, RDZV_ID,
MIN_NNODES, MAX_NNODES, MAX_RESTARTS, FORCE_TORCHRUN); `PET_*` is torchrun's own and left alone. No torch is imported.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.errors import UsageFault
from stages.train.job import JOB_FILE, TrainJob

WORKER_MODULE = "stages.train"
DEVICES = Path("/dev")
# device files of drivers: NVIDIA, the same under WSL and on Jetson, AMD, Ascend
_DRIVER = re.compile(r"nvidia|dxg$|nvhost|nvgpu|nvmap|kfd$|davinci")


@dataclass(frozen=True)
class Launch:
    """What to do: run `argv` with `env` added, or, when `argv` is empty, run here with `env` added. `why` is one
    sentence for the user."""

    argv: tuple[str, ...]
    env: dict[str, str]
    why: str

    def command(self) -> str:
        """The command line as it could be typed into a shell."""
        import shlex

        added = [f"{name}={shlex.quote(value)}" for name, value in sorted(self.env.items())]
        return " ".join([*added, *(shlex.quote(word) for word in self.argv)])


def plan_launch(job: TrainJob, environ: Mapping[str, str]) -> Launch | None:
    """How `job` should be started under `environ`; None means in this process with nothing to set.

    The job file is expected in the job's output folder. Raises UsageFault for variables that contradict each other.
    """
    if is_worker(environ):
        return None
    if _in_srun(environ):
        return Launch((), _slurm_env(environ), "Slurm started this task: it is one worker of several")
    if "RANK" in environ and "WORLD_SIZE" in environ and not environ.get("RDZV_ID"):
        environ = {"NNODES": environ["WORLD_SIZE"], "NODE_RANK": environ["RANK"], **environ}
    workers = _workers_per_node(job, environ)
    nodes = _whole(environ, "NNODES", 1)
    elastic = bool(environ.get("RDZV_ID"))
    why = _why_torchrun(job, environ, workers, nodes)
    if not why:
        return None
    argv = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(workers)]
    argv += _elastic(environ, nodes) if elastic else _static(environ, nodes)
    argv += ["-m", WORKER_MODULE, str(Path(job.run.output_dir) / JOB_FILE)]
    return Launch(tuple(argv), _worker_env(job, environ, workers), why)


def is_worker(environ: Mapping[str, str]) -> bool:
    """Whether a launcher has made this process a worker. Cluster managers give a node RANK and WORLD_SIZE, too."""
    return all(name in environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))


def rank(environ: Mapping[str, str]) -> int:
    """This worker's number, 0 when it is alone."""
    return _whole(environ, "RANK", 0)


def _why_torchrun(job: TrainJob, environ: Mapping[str, str], workers: int, nodes: int) -> str:
    if nodes > 1 or environ.get("RDZV_ID"):
        return f"{nodes} nodes with {workers} {'worker' if workers == 1 else 'workers'} each"
    if workers > 1:
        return f"{workers} workers on this machine"
    if job.run.deepspeed:
        return "DeepSpeed wants a launcher even for one process"
    if _truth(environ.get("FORCE_TORCHRUN")):
        return "FORCE_TORCHRUN is set"
    return ""


def _static(environ: Mapping[str, str], nodes: int) -> list[str]:
    address = environ.get("MASTER_ADDR", "127.0.0.1")
    port = environ.get("MASTER_PORT") or (str(free_port()) if nodes == 1 else "29500")
    if nodes > 1 and "MASTER_ADDR" not in environ:
        raise UsageFault(f"NNODES is {nodes}, so every node needs MASTER_ADDR: the address of node 0")
    node = _whole(environ, "NODE_RANK", 0)
    if not 0 <= node < nodes:
        raise UsageFault(f"NODE_RANK is {node}, but with NNODES={nodes} it runs from 0 to {nodes - 1}")
    words = ["--nnodes", str(nodes), "--node_rank", str(node), "--master_addr", address, "--master_port", port]
    restarts = _whole(environ, "MAX_RESTARTS", 0)
    return [*words, "--max_restarts", str(restarts)] if restarts else words


def _elastic(environ: Mapping[str, str], nodes: int) -> list[str]:
    address = environ.get("MASTER_ADDR", "127.0.0.1")
    port = environ.get("MASTER_PORT", "29500")
    low, high = environ.get("MIN_NNODES"), environ.get("MAX_NNODES")
    count = f"{low}:{high}" if low and high else str(nodes)
    return [
        *("--nnodes", count, "--rdzv_id", environ["RDZV_ID"], "--rdzv_backend", "c10d"),
        *("--rdzv_endpoint", f"{address}:{port}", "--max_restarts", str(_whole(environ, "MAX_RESTARTS", 0))),
    ]


def _worker_env(job: TrainJob, environ: Mapping[str, str], workers: int) -> dict[str, str]:
    # a folder called `stages` where the user stands must not be imported instead of ours
    env = {"PYTHONSAFEPATH": "1"}
    # after a SIGTERM workers save a checkpoint, which takes longer than torchrun's half a minute
    env["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = environ.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "600")
    if "OMP_NUM_THREADS" not in environ:
        # torchrun would set 1 and warn
        env["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    on_cpu = job.flag("use_cpu") or not visible_devices(environ)
    if on_cpu and job.run.deepspeed:
        env["DS_ACCELERATOR"] = "cpu"
    elif not on_cpu and environ.get("OPTIM_TORCH", "1") not in ("0", "false"):
        env["PYTORCH_CUDA_ALLOC_CONF"] = environ.get("PYTORCH_CUDA_ALLOC_CONF") or "expandable_segments:True"
    return env


def _workers_per_node(job: TrainJob, environ: Mapping[str, str]) -> int:
    given = environ.get("NPROC_PER_NODE")
    if given:
        count = _whole(environ, "NPROC_PER_NODE", 1)
        if count < 1:
            raise UsageFault(f"NPROC_PER_NODE is {count}; it must be at least 1")
        return count
    return 1 if job.flag("use_cpu") else max(1, visible_devices(environ))


def planned_processes(job: TrainJob, environ: Mapping[str, str]) -> int:
    """How many processes a run of `job` will have; of an elastic one, at its start."""
    if is_worker(environ):
        return _whole(environ, "WORLD_SIZE", 1)
    return _whole(environ, "NNODES", 1) * _workers_per_node(job, environ)


def visible_devices(environ: Mapping[str, str], dev: Path | None = None) -> int:
    """How many accelerators a worker would see, without loading a driver: the visibility variables, else the device
    files. A variable that names devices on a machine without any (a profile that fits another machine) makes none."""
    try:
        names = os.listdir(DEVICES if dev is None else dev)
    except OSError:
        return 0
    if not any(_DRIVER.match(name) for name in names):
        return 0
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"):
        if name in environ:
            listed = [word.strip() for word in environ[name].split(",") if word.strip()]
            if "-1" in listed:  # CUDA stops reading at the first that is no device
                listed = listed[: listed.index("-1")]
            return len(listed)
    nvidia = sum(1 for name in names if re.fullmatch(r"nvidia\d+", name))
    return nvidia or sum(1 for name in names if re.fullmatch(r"davinci\d+", name))


def _in_srun(environ: Mapping[str, str]) -> bool:
    return "SLURM_PROCID" in environ and "SLURM_STEP_ID" in environ and _whole(environ, "SLURM_NTASKS", 1) > 1


def _slurm_env(environ: Mapping[str, str]) -> dict[str, str]:
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or "127.0.0.1"
    job_id = _whole(environ, "SLURM_JOB_ID", 0)
    return {
        "RANK": environ["SLURM_PROCID"],
        "LOCAL_RANK": environ.get("SLURM_LOCALID", "0"),
        "WORLD_SIZE": environ["SLURM_NTASKS"],
        "LOCAL_WORLD_SIZE": environ.get("SLURM_NTASKS_PER_NODE", environ["SLURM_NTASKS"]).split("(")[0],
        "MASTER_ADDR": environ.get("MASTER_ADDR") or first_host(nodes),
        # two jobs on one node must not meet on one port
        "MASTER_PORT": environ.get("MASTER_PORT") or str(20000 + job_id % 20000),
    }


def first_host(nodelist: str) -> str:
    """The first name of a Slurm node list: `gpu[07-09,12],cpu1` -> `gpu07`."""
    head = re.match(r"([^,\[]+)(?:\[([^\],-]+))?", nodelist)
    return (head.group(1) + (head.group(2) or "")) if head else nodelist


def free_port() -> int:
    """A TCP port that nobody on this machine listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise UsageFault(f'{name} is "{text}", which is not a whole number') from None


def _truth(word: str | None) -> bool:
    return (word or "").strip().lower() in ("1", "true", "yes", "on")
