"""A run is started the way the environment says, and the command that does it can be read and typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from registry.errors import UsageFault
from stages.train.job import ModelSpec, RunSpec, TrainJob
from stages.train.launch.torchrun import Launch, first_host, plan_launch, visible_devices

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


def job(**run: object) -> TrainJob:
    return TrainJob("sft", "prepared", ModelSpec("model"), RunSpec(output_dir="out", **run))  # type: ignore[arg-type]


def planned(environ: dict[str, str], **run: object) -> Launch:
    launch = plan_launch(job(**run), environ)
    assert launch is not None
    return launch


@pytest.fixture(autouse=True)
def a_machine_with_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "dev"
    folder.mkdir()
    for number in range(8):
        (folder / f"nvidia{number}").touch()
    monkeypatch.setattr("stages.train.launch.torchrun.DEVICES", folder)


def value(launch: Launch, flag: str) -> str:
    return launch.argv[launch.argv.index(flag) + 1]


def test_one_device_runs_in_this_process() -> None:
    assert plan_launch(job(), NO_GPU) is None
    assert plan_launch(job(), {"CUDA_VISIBLE_DEVICES": "3"}) is None


def test_a_worker_never_launches_again() -> None:
    worker = {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "NPROC_PER_NODE": "8"}
    assert plan_launch(job(deepspeed="z2"), worker) is None


def test_rank_and_world_size_alone_count_nodes() -> None:
    """Kubeflow's PyTorchJob and PAI-DLC set them for each node; a worker has LOCAL_RANK as well."""
    node = {**NO_GPU, "RANK": "1", "WORLD_SIZE": "2", "NPROC_PER_NODE": "8", "MASTER_ADDR": "h0", "MASTER_PORT": "1"}
    launch = plan_launch(job(), node)
    assert launch is not None
    for name, value in (("nnodes", "2"), ("node_rank", "1"), ("nproc_per_node", "8"), ("master_addr", "h0")):
        assert launch.argv[launch.argv.index(f"--{name}") + 1] == value
    named = plan_launch(job(), {**node, "NNODES": "2", "NODE_RANK": "0", "RANK": "0", "FORCE_TORCHRUN": "1"})
    assert named is not None
    assert named.argv[named.argv.index("--node_rank") + 1] == "0"


def test_several_devices_get_a_worker_each() -> None:
    launch = planned({"CUDA_VISIBLE_DEVICES": "0,1,5"})
    assert value(launch, "--nproc_per_node") == "3"
    assert launch.argv[:3] == (sys.executable, "-m", "torch.distributed.run")
    assert launch.argv[-3:] == ("-m", "stages.train", "out/prep_job.json")


def test_the_users_folder_cannot_shadow_our_modules() -> None:
    assert planned({**NO_GPU, "FORCE_TORCHRUN": "1"}).env["PYTHONSAFEPATH"] == "1"


def test_deepspeed_needs_a_launcher_even_alone() -> None:
    launch = planned(NO_GPU, deepspeed="z2")
    assert value(launch, "--nproc_per_node") == "1"
    assert launch.env["DS_ACCELERATOR"] == "cpu"


def test_llama_factorys_variables_make_the_static_command() -> None:
    launch = planned(
        {**NO_GPU, "NNODES": "2", "NODE_RANK": "1", "NPROC_PER_NODE": "8", "MASTER_ADDR": "h0", "MASTER_PORT": "29511"}
    )
    assert [value(launch, flag) for flag in ("--nnodes", "--node_rank", "--master_addr", "--master_port")] == [
        *("2", "1", "h0", "29511")
    ]
    assert value(launch, "--nproc_per_node") == "8"


def test_an_rdzv_id_makes_the_elastic_command() -> None:
    environ = {**NO_GPU, "NNODES": "2", "RDZV_ID": "j7", "MASTER_ADDR": "h0", "MAX_RESTARTS": "3"}
    launch = planned({**environ, "MIN_NNODES": "1", "MAX_NNODES": "4"})
    assert value(launch, "--nnodes") == "1:4"
    assert value(launch, "--rdzv_backend") == "c10d"
    assert value(launch, "--rdzv_endpoint") == "h0:29500"
    assert value(launch, "--max_restarts") == "3"
    assert "--node_rank" not in launch.argv


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"NNODES": "two"}, "NNODES"),
        ({"NNODES": "2"}, "MASTER_ADDR"),
        ({"NNODES": "2", "MASTER_ADDR": "h", "NODE_RANK": "2"}, "NODE_RANK"),
        ({"NPROC_PER_NODE": "0"}, "NPROC_PER_NODE"),
    ],
)
def test_contradicting_variables_are_named(environ: dict[str, str], word: str) -> None:
    with pytest.raises(UsageFault, match=word):
        plan_launch(job(), {**NO_GPU, **environ})


def test_a_slurm_task_becomes_a_worker() -> None:
    environ = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0"}
    launch = planned({**environ, "SLURM_STEP_NODELIST": "gpu[07-09]", "SLURM_JOB_ID": "123"})
    assert launch.argv == ()
    assert launch.env["RANK"] == "5"
    assert launch.env["WORLD_SIZE"] == "8"
    assert launch.env["LOCAL_RANK"] == "1"
    assert launch.env["MASTER_ADDR"] == "gpu07"


def test_an_sbatch_script_outside_srun_is_not_a_worker() -> None:
    assert plan_launch(job(), {**NO_GPU, "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}) is None


@pytest.mark.parametrize(
    ("nodelist", "host"), [("n1", "n1"), ("n1,n2", "n1"), ("a[3,5-7],b", "a3"), ("x-[01-02]", "x-01")]
)
def test_first_host_of_a_node_list(nodelist: str, host: str) -> None:
    assert first_host(nodelist) == host


def test_devices_are_counted_without_a_driver(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "null"):
        (tmp_path / name).touch()
    assert visible_devices({}, tmp_path) == 2
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == 0
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, tmp_path) == 1
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "MIG-1/2/0"}, tmp_path) == 1


def test_a_variable_makes_no_devices_where_there_are_none(tmp_path: Path) -> None:
    """A profile that sets CUDA_VISIBLE_DEVICES for another machine does not start four workers on a CPU."""
    (tmp_path / "null").touch()
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, tmp_path) == 0


def test_the_command_can_be_pasted_into_a_shell() -> None:
    launch = Launch(("python", "-m", "x", "a b"), {"PYTHONSAFEPATH": "1"}, "")
    assert launch.command() == "PYTHONSAFEPATH=1 python -m x 'a b'"


def test_planning_imports_no_torch() -> None:
    code = (
        "import json, sys; from pathlib import Path; from stages.train.launch.torchrun import plan_launch;"
        "from tests.support.jobs import train_job;"
        "j = train_job({'model_name_or_path': 'm', 'output_dir': 'o', 'deepspeed': 'z2'}, Path('d'));"
        "plan_launch(j, {});"
        "print(json.dumps([m for m in ('torch', 'numpy', 'pyarrow', 'transformers') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
