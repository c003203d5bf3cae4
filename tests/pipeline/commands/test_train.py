"""`prep train` as a user types it: the demo, the launch templates, and errors that are answers."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import run

pytestmark = pytest.mark.train
pytest.importorskip("trl")

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "fixtures" / "demo" / "sft.yaml"
LAUNCH = ROOT / "fixtures" / "launch"
BASE = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "RANK", "WORLD_SIZE"))}


def losses(output: Path) -> list[float]:
    entries = map(json.loads, (output / "trainer_log.jsonl").read_text().splitlines())
    return [entry["loss"] for entry in entries if "loss" in entry]


def free_port() -> str:
    from stages.train.launch.torchrun import free_port

    return str(free_port())


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which `prep` is this checkout."""
    prep = tmp_path / "bin" / "prep"
    prep.parent.mkdir()
    prep.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline "$@"\n')
    prep.chmod(prep.stat().st_mode | stat.S_IXUSR)
    path = f"{prep.parent}:{BASE['PATH']}"
    return {**BASE, "PATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def test_the_demo_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", str(DEMO), f"output_dir={tmp_path / 'o'}"]) == 0
    seen = losses(tmp_path / "o")
    assert sum(seen[-5:]) < 0.8 * sum(seen[:5])
    said = capsys.readouterr().err
    assert "done: " in said
    assert (tmp_path / "o" / "training_loss.png").exists()
    assert (tmp_path / "o" / "prepared" / "manifest.json").exists()


def test_shards_are_used_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(DEMO), f"output_dir={tmp_path / 'o'}", "max_steps=1"]
    assert run(words) == 0
    made = (tmp_path / "o" / "prepared" / "manifest.json").stat().st_mtime_ns
    assert run([*words, "--json", "--quiet"]) == 0
    assert (tmp_path / "o" / "prepared" / "manifest.json").stat().st_mtime_ns == made
    assert "train_loss" in json.loads(capsys.readouterr().out)


def test_prepared_shards_are_enough(tmp_path: Path) -> None:
    assert run(["pack", str(DEMO), "-o", str(tmp_path / "shards"), "--quiet"]) == 0
    words = [f"tokenized_path={tmp_path / 'shards'}", f"output_dir={tmp_path / 'o'}", "max_steps=1"]
    model = [f"model_name_or_path={ROOT / 'fixtures' / 'tiny'}", "train_from_scratch=true", "finetuning_type=full"]
    assert run(["train", *model, *words]) == 0
    assert (tmp_path / "o" / "model.safetensors").exists()


def test_a_dry_run_prints_the_command_and_packs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPROC_PER_NODE", "2")
    assert run(["train", str(DEMO), f"output_dir={tmp_path / 'o'}", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "PYTHONSAFEPATH=1" in printed
    assert "-m torch.distributed.run --nproc_per_node 2" in printed
    assert printed.rstrip().endswith(f"-m stages.train {tmp_path / 'o' / 'prep_job.json'}")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["stage=ppo"], 2, "ppo"),
        (["deepspeed=nowhere.json"], 2, "deepspeed"),
        (["train_from_scratch=false"], 2, "no weights"),
        (["report_to=wandb"], 3, "wandb"),
        (["quantization_bit=4", "finetuning_type=lora"], 2, "quantization_bit"),
    ],
)
def test_an_error_is_an_answer(
    words: list[str], code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    if told == "wandb" and importlib.util.find_spec(told):
        pytest.skip(f"{told} is installed here")
    assert run(["train", str(DEMO), f"output_dir={tmp_path / 'o'}", *words]) == code
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said
    assert code == 3 or not (tmp_path / "o").exists(), "nothing is packed for a run that cannot start"


@pytest.mark.parametrize("command", ["train", "predict"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train_from_scratch=false"], "no weights"),
        (["finetuning_type=lora", "adapter_name_or_path=./nosuch"], "./nosuch: there is no such folder"),
        (["finetuning_type=lora", f"adapter_name_or_path={DEMO.parent}"], "no adapter_config.json"),
    ],
)
def test_what_a_model_lacks_is_told_before_anything_is_packed(
    command: str, words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and the output folder is not even made."""
    assert run([command, str(DEMO), f"output_dir={tmp_path / 'o'}", *words]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("command", ["train", "predict"])
@pytest.mark.parametrize("workers", [None, "2"])
def test_a_dry_run_is_told_as_json(
    command: str,
    workers: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One document on stdout, whatever would start; nothing is packed."""
    if workers:
        monkeypatch.setenv("NPROC_PER_NODE", workers)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert run([command, str(DEMO), f"output_dir={tmp_path / 'o'}", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["dry_run"] is True
    assert plan["output_dir"] == str(tmp_path / "o")
    assert plan["launcher"] == ("torchrun" if workers else None)
    assert (" ".join(plan["argv"]) in (plan["command"] or "")) and bool(plan["argv"]) == bool(workers)
    assert not (tmp_path / "o").exists()


def test_too_many_rejected_records_stop_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"instruction": "a", "input": "", "output": "b"}
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps(r) for r in [good, {**good, "output": ""}, good]))
    words = [f"dataset={tmp_path / 'd.jsonl'}", "template=default", f"output_dir={tmp_path / 'o'}", "max_steps=1"]
    assert run(["train", str(DEMO), *words]) == 1
    said = capsys.readouterr().err
    assert "max_rejected" in said
    assert " 1 by answer.empty" in said
    assert f"{tmp_path / 'o' / 'prepared'}/rejects" in said
    assert not (tmp_path / "o" / "trainer_log.jsonl").exists()
    assert run(["train", str(DEMO), *words, "max_rejected=1"]) == 0


def test_a_run_from_raw_data_tells_what_packing_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows of the pack summary; and the commands that look at an output find the run's shards."""
    words = [str(DEMO), f"output_dir={tmp_path / 'o'}", "cutoff_len=24", "max_steps=1"]
    assert run(["train", *words]) == 0
    said = capsys.readouterr().err
    assert "lost to the length limit" in said
    assert "records" in said and "kept" in said
    assert "prep train" not in said, "that is what runs"
    for command in (["verify"], ["stats"], ["inspect"], ["report", "-o", str(tmp_path / "page.html")]):
        assert run([command[0], str(tmp_path / "o"), *command[1:]]) == 0, command
    assert run(["train", *words, "--quiet", "overwrite_output_dir=true", "cutoff_len=25"]) == 0
    assert "records" not in capsys.readouterr().err


def trained(output: Path) -> None:
    assert len(losses(output)) == 2
    assert (output / "model.safetensors").exists()


def words_for(tmp_path: Path) -> list[str]:
    return [str(DEMO), f"output_dir={tmp_path / 'o'}", "max_steps=4"]


def test_one_node_by_its_script(tmp_path: Path, environ: dict[str, str]) -> None:
    environ.update(NPROC_PER_NODE="2", MASTER_PORT=free_port())
    done = subprocess.run(
        [str(LAUNCH / "single_node.sh"), *words_for(tmp_path)], env=environ, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stderr
    assert "Traceback" not in done.stderr
    trained(tmp_path / "o")


SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
export SLURM_NTASKS=2 SLURM_STEP_ID=0 SLURM_STEP_NODELIST=127.0.0.1 SLURM_JOB_ID=77
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & second=$!
wait $first && wait $second
"""


def test_slurm_by_its_script(tmp_path: Path, environ: dict[str, str]) -> None:
    """With an `srun` that starts two tasks on this machine."""
    srun = tmp_path / "bin" / "srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    environ["MASTER_PORT"] = free_port()
    done = subprocess.run(
        ["bash", str(LAUNCH / "slurm.sbatch"), *words_for(tmp_path)],
        env=environ, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stderr
    trained(tmp_path / "o")


def test_two_hosts_by_the_hostfile_script(tmp_path: Path, environ: dict[str, str]) -> None:
    """With an `ssh` that stays on this machine: two nodes on loopback, torchrun's static rendezvous."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text('#!/bin/sh\n[ "$1" = -tt ] && shift\nshift\nexec bash -c "$1"\n')
    ssh.chmod(0o755)
    hosts = tmp_path / "hosts.txt"
    hosts.write_text("# ours\n127.0.0.1 slots=1\n\nlocalhost slots=1  # the second\n")
    environ["MASTER_PORT"] = free_port()
    done = subprocess.run(
        [str(LAUNCH / "hostfile.sh"), str(hosts), *words_for(tmp_path)],
        env=environ, capture_output=True, text=True, timeout=180, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stderr
    trained(tmp_path / "o")


def test_two_pods_by_the_kubernetes_job(tmp_path: Path, environ: dict[str, str]) -> None:
    """The Job's own command and variables, twice on loopback: torchrun's c10d rendezvous."""
    _, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] >= 600, "a checkpoint has to fit in"
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    here = {"NPROC_PER_NODE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    assert set(here) <= set(given)
    command = [word.replace("/config/sft.yaml", str(DEMO)) for word in container["command"]]
    pods = [
        subprocess.Popen(
            [*command, *words_for(tmp_path)[1:]],
            env={**environ, **given, **here, "JOB_COMPLETION_INDEX": str(index)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(job["spec"]["completions"])
    ]
    said = [pod.communicate(timeout=180)[1] for pod in pods]
    assert [pod.returncode for pod in pods] == [0, 0], said
    trained(tmp_path / "o")


def test_sigterm_to_prep_reaches_the_workers_and_a_checkpoint_is_saved(tmp_path: Path, environ: dict[str, str]) -> None:
    from stages.train.checkpoints import checkpoints

    words = [str(DEMO), f"output_dir={tmp_path / 'o'}", "max_steps=100000", "logging_steps=1", "save_strategy=no"]
    prep = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "train", *words],
        env={**environ, "NPROC_PER_NODE": "2"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said: list[str] = []
    assert prep.stderr is not None
    reader = threading.Thread(target=lambda: said.extend(prep.stderr or ()))
    reader.start()
    try:
        deadline = time.monotonic() + 120
        while not any(text.startswith("step ") for text in said) and time.monotonic() < deadline:
            assert prep.poll() is None, said
            time.sleep(0.1)
        prep.send_signal(signal.SIGTERM)
        assert prep.wait(timeout=120) == 143, said
        reader.join(timeout=30)
    finally:
        prep.kill()
    assert not any("Traceback" in text for text in said), said
    assert len(checkpoints(tmp_path / "o")) == 1


def test_predict_and_export_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [str(DEMO), "finetuning_type=lora"]
    model = tmp_path / "base"
    assert run(["train", str(DEMO), f"output_dir={model}", "max_steps=2", "--quiet"]) == 0
    base = [f"model_name_or_path={model}", "train_from_scratch=false"]
    assert run(["train", *common, *base, f"output_dir={tmp_path / 'lora'}", "max_steps=2", "--quiet"]) == 0
    adapter = [f"adapter_name_or_path={tmp_path / 'lora'}"]
    predict = [f"output_dir={tmp_path / 'p'}", "max_new_tokens=4", "do_sample=false", "--split", "。;"]
    assert run(["predict", *common, *base, *adapter, *predict, "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert result["predict_samples_per_second"] > 0
    found = [json.loads(text) for text in (tmp_path / "p" / "generated_predictions.jsonl").read_text().splitlines()]
    assert set(found[0]) == {"prompt", "predict", "label", "predict_split", "label_split"}
    assert run(["export", *base, *adapter, "template=qwen3", f"export_dir={tmp_path / 'merged'}", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["adapters"] == [str(tmp_path / "lora")]
    assert written["files"] == {path.name: path.stat().st_size for path in (tmp_path / "merged").iterdir()}
    assert {"config.json", "model.safetensors", "Modelfile", "chat_template.jinja"} <= {
        path.name for path in (tmp_path / "merged").iterdir()
    }
