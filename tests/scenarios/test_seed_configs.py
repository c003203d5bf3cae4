"""The configurations that people have on disk train as they are; only the model is a tiny one.

Their GPU-only keys (bf16, Liger kernels) become notes, their DeepSpeed files ours of the same kind, and their data sets
the demo's records under the names they use.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import load_config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "fixtures" / "configs").glob("*.yaml"))
DEMO = ROOT / "fixtures" / "demo"
NAMES = {  # data set of a configuration -> data set of the demo
    "dpo_en_demo": "demo_dpo",
    "kto_harmless": "demo_kto",
    "kto_en_demo": "demo_kto",
    "glaive_toolcall_en": "demo_sharegpt",
    "glaive_toolcall_zh": "demo_sharegpt",
    "records": "demo_alpaca",
    "manual_prompt0": "demo_alpaca",
}
ENVIRON = {"SEED": "3", "DATASET": "records", "DATA_SETTING": "records", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_each_becomes_a_job(path: Path) -> None:
    from pipeline.runs.train.job_from_config import job_from_config, predict_job_from_config
    from stages.train.job import from_json, to_json

    config = load_config(str(path), environ=ENVIRON)
    make = predict_job_from_config if config.flag("do_predict") else job_from_config
    job = make(config, Path("prepared"))
    raw: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    assert job.stage == raw.get("stage", "sft")
    assert job.tuning.kind == raw.get("finetuning_type", "lora") or job.task == "predict"
    assert job.preference.ftx == float(raw.get("kto_ftx", 0.0))
    assert from_json(to_json(job)) == job


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a tiny model and the data sets that the configurations name."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("place")
    torch.manual_seed(0)
    tiny = ROOT / "fixtures" / "tiny"
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(tiny))
    model.save_pretrained(root / "tiny")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (root / "tiny" / name).write_bytes((tiny / name).read_bytes())
    info = json.loads((DEMO / "dataset_info.json").read_text("utf-8"))
    listed = {name: {**info[of], "file_name": str(DEMO / info[of]["file_name"])} for name, of in NAMES.items()}
    for folder in (root / "data", root / "data" / "dataset"):
        folder.mkdir()
        (folder / "dataset_info.json").write_text(json.dumps(listed))
    return root


@pytest.fixture(scope="module")
def prep(place: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **ENVIRON, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *words, "model_name_or_path=tiny"],
            cwd=place, env=environ, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    return call


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_each_runs_unchanged(path: Path, place: Path, prep: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    pytest.importorskip("deepspeed")
    raw: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    config = load_config(str(path), environ=ENVIRON)
    output = place / str(config.text("output_dir"))
    if raw.get("do_predict"):
        trained = ["train", "dataset=records", "template=qwen", "finetuning_type=lora", "max_steps=2"]
        done = prep(*trained, f"output_dir={raw['adapter_name_or_path']}", "cutoff_len=512")
        assert done.returncode == 0, done.stderr
    # one file is the excerpt that a guide prints, which leaves the stage out
    done = prep("train", str(path), *([] if "stage" in raw else ["stage=dpo"]))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if raw.get("do_predict"):
        assert (output / "generated_predictions.jsonl").exists()
        return
    assert (output / "model.safetensors").exists() or (output / "adapter_model.safetensors").exists()
    for key, word in (("bf16", "bf16 off"), ("use_liger_kernel", "use_liger_kernel off"), ("deepspeed", "our own z")):
        assert bool(raw.get(key)) == (word in done.stderr), f"{key} is not turned off in silence"


@pytest.mark.slow
@pytest.mark.train
def test_the_long_command_line_runs_unchanged(
    place: Path, prep: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    pytest.importorskip("deepspeed")
    text = (ROOT / "fixtures" / "configs" / "opendataarena_command.args").read_text("utf-8")
    words = [word for line in text.splitlines() if not line.startswith("#") for word in line.split()]
    done = prep("train", *words)
    assert done.returncode == 0, done.stderr
    assert (place / "saves" / "llama3.1-8b" / "full" / "sft-records" / "seed-3" / "model.safetensors").exists()
