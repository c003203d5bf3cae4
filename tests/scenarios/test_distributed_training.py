"""Several processes are one run: the same losses, a clean end, and errors that arrive as what they are.

Everything runs on the CPU over gloo, without a compiler.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import DataFault
from stages.train.job import TrainJob, to_json
from stages.train.launch.supervisor import run_launch
from stages.train.launch.torchrun import Launch, free_port, plan_launch
from tests.support.jobs import predict_job, train_job

pytestmark = pytest.mark.train
pytest.importorskip("trl")

Run = Callable[..., tuple[dict[str, Any], list[str]]]
ALONE = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
STEPS = 4


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, make: Any) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("shards")
    prompts = make.out(root / "prompts", "prompt", {"train": make.prompts(10)})
    return {
        "prompts": prompts,
        "sft": make.out(root / "sft", "lm", {"train": make.packed(make.lm(72))}, packed=True),
        "dpo": make.out(root / "dpo", "pref", {"train": make.pref(24)}),
        "kto": make.out(root / "kto", "unpaired", {"train": make.unpaired(24)}),
    }


def losses(output: Path, key: str = "loss") -> list[float]:
    found = [json.loads(text) for text in (output / "trainer_log.jsonl").read_text().splitlines()]
    return [entry[key] for entry in found if key in entry]


def values(model: Path, output: Path, stage: str, **keys: Any) -> dict[str, Any]:
    return {
        "model_name_or_path": str(model),
        "output_dir": str(output),
        "stage": stage,
        "finetuning_type": "full",
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "learning_rate": 5e-3,
        "max_steps": STEPS,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "seed": 7,
        **keys,
    }


def launched(data: Path, settings: dict[str, Any], **environ: str) -> tuple[int, list[str]]:
    """Run a job the way `prep train` does, with two workers; gives the exit code and what was said."""
    job = train_job(settings, data)
    launch = plan_launch(job, {**ALONE, "NPROC_PER_NODE": "2", "OMP_NUM_THREADS": "1", **environ})
    assert launch is not None
    output = Path(job.run.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    (output / "prep_job.json").write_text(to_json(job))
    said: list[str] = []
    return run_launch(launch, said.append), said


def settings_of(stage: str, model: Path, output: Path, **keys: Any) -> dict[str, Any]:
    # with a few steps more the model moves away from its reference far enough for a KL above 0
    more: dict[str, Any] = {"max_steps": 8, "learning_rate": 1e-2} if stage == "kto" else {}
    return values(model, output, stage, **{**more, **keys})


@pytest.fixture(scope="module")
def one_process(
    folders: dict[str, Path], tiny_model: Path, run_job: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Each stage trained alone, with the whole batch on one device."""
    root = tmp_path_factory.mktemp("one")
    for stage, data in stages(folders).items():
        run_job(data, root / stage, **settings_of(stage, tiny_model, root / stage, per_device_train_batch_size=4))
    return {stage: root / stage for stage in stages(folders)}


def stages(folders: dict[str, Path]) -> dict[str, Path]:
    return {name: folder for name, folder in folders.items() if name != "prompts"}


def answers(model: Path, output: Path, **keys: Any) -> dict[str, Any]:
    return values(model, output, "sft", do_sample=False, max_new_tokens=6, per_device_eval_batch_size=4, **keys)


def same_run(stage: str, one: Path, two: Path) -> None:
    assert losses(two) == pytest.approx(losses(one), abs=5e-4)
    assert len(losses(two)) == (8 if stage == "kto" else STEPS)
    if stage == "kto":
        assert losses(two, "kl") == pytest.approx(losses(one, "kl"), abs=5e-4)
        assert max(losses(one, "kl")) > 0
    assert (two / "model.safetensors").exists()


SLOW_MODES = [pytest.param((mode,), marks=pytest.mark.slow) for mode in ("ddp", "z0", "z1")]


@pytest.fixture(scope="module")
def uneven(make: Any, run_job: Run, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Rows that fill no whole round of two processes, and an epoch of them trained alone."""
    root = tmp_path_factory.mktemp("uneven")
    data = make.out(root / "data", "lm", {"train": make.lm(21)})
    run_job(data, root / "one", **epoch_of_uneven_rows(tiny_model, root / "one", gradient_accumulation_steps=4))
    return data, root / "one"


def epoch_of_uneven_rows(model: Path, output: Path, **keys: Any) -> dict[str, Any]:
    return values(model, output, "sft", max_steps=-1, num_train_epochs=1, **keys)


@pytest.mark.parametrize("modes", [("z2", "z3"), *SLOW_MODES], ids="-".join)
def test_two_processes_have_the_losses_of_one(
    modes: tuple[str, ...], folders: dict[str, Path], one_process: dict[str, Path], uneven: tuple[Path, Path],
    tiny_model: Path, tmp_path: Path,
) -> None:  # fmt: skip
    """sft from packed rows, dpo with a reference model, kto with its KL term; whole batches of 4 on both sides. The sft
    run is resumed from its middle, and repeats its second segment to the bit; predictions come out in order. Of rows
    that do not come out even none is seen twice."""
    from stages.train.generate.run import predict

    predict(predict_job(answers(tiny_model, tmp_path / "one"), folders["prompts"]), lambda _: None)
    jobs = {"predict": predict_job(answers(tiny_model, tmp_path / "two"), folders["prompts"])}
    settings = epoch_of_uneven_rows(tiny_model, tmp_path / "uneven", gradient_accumulation_steps=2)
    jobs["uneven"] = train_job(settings, uneven[0])
    for mode in modes:  # z3 last: the engine's way of loading weights in pieces outlives the run
        jobs |= jobs_of(mode, folders, tiny_model, tmp_path / mode)
    run_together(jobs, tmp_path)
    for mode in modes:
        for stage in stages(folders):
            same_run(stage, one_process[stage], tmp_path / mode / stage)
        assert losses(tmp_path / mode / "resumed") == losses(tmp_path / mode / "sft")[2:], mode
        weights = [tmp_path / mode / name / "model.safetensors" for name in ("resumed", "sft")]
        assert weights[0].read_bytes() == weights[1].read_bytes(), mode
    assert losses(tmp_path / "uneven") == pytest.approx(losses(uneven[1]), abs=1e-5)
    assert losses(tmp_path / "uneven", "trained_tokens") == losses(uneven[1], "trained_tokens")
    name = "generated_predictions.jsonl"
    assert (tmp_path / "two" / name).read_text() == (tmp_path / "one" / name).read_text()


def jobs_of(mode: str, folders: dict[str, Path], model: Path, output: Path) -> dict[str, TrainJob]:
    """Each stage, and the sft run once more from its second checkpoint on."""
    engine: dict[str, Any] = {"deepspeed": None if mode == "ddp" else mode}
    if mode != "ddp":
        pytest.importorskip("deepspeed")
    saving = {"save_strategy": "steps", "save_steps": 2}
    runs: dict[str, Any] = {stage: (stage, engine) for stage in stages(folders)}
    runs["sft"] = ("sft", {**engine, **saving})
    runs["resumed"] = ("sft", {**engine, "resume_from_checkpoint": str(output / "sft" / "checkpoint-2")})
    return {
        f"{mode}-{name}": train_job(settings_of(stage, model, output / name, **keys), folders[stage])
        for name, (stage, keys) in runs.items()
    }


def run_together(jobs: dict[str, TrainJob], folder: Path, processes: int = 2) -> None:
    """Runs the jobs one after the other in one group of processes."""
    paths = []
    for name, job in jobs.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(to_json(job))
    argv = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    argv += ["--master_port", str(free_port())]
    argv += [str(Path(__file__).parents[1] / "support" / "several_jobs.py"), *map(str, paths)]
    said: list[str] = []
    environ = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PATH": os.environ["PATH"]}
    try:
        code = run_launch(Launch(tuple(argv), environ, ""), said.append)
    except Exception as error:
        raise AssertionError("\n".join(said)) from error
    assert code == 0, said


@pytest.mark.slow  # two processes above see an epoch of uneven rows as one does
@pytest.mark.parametrize("processes", [2, 3])
def test_an_epoch_of_uneven_rows_is_that_of_one_process(
    processes: int, make: Any, tiny_model: Path, run_job: Run, tmp_path: Path
) -> None:
    """No row twice, none left out: losses, weights, token counts and the evaluation are those of one process."""
    from safetensors.torch import load_file

    made = {
        "sft": ("lm", {"train": make.lm(21), "validation": make.lm(7, 3)}),
        "dpo": ("pref", {"train": make.pref(21)}),
        "kto": ("unpaired", {"train": make.unpaired(22)}),
    }
    jobs = {}
    for stage, (kind, splits) in made.items():
        data = make.out(tmp_path / f"{stage}-data", kind, splits)
        keys = {"max_steps": -1, "num_train_epochs": 2, "do_eval": stage == "sft", "do_train": True}
        saving = {"save_strategy": "steps", "save_steps": 1} if stage == "sft" else {}
        keys |= {"gradient_accumulation_steps": 2}
        many = values(tiny_model, tmp_path / f"{stage}-many", stage, **keys, **saving)
        alone = {**many, "save_strategy": "no", "gradient_accumulation_steps": 2 * processes}
        run_job(data, tmp_path / f"{stage}-one", **{**alone, "output_dir": str(tmp_path / f"{stage}-one")})
        jobs[stage] = train_job(many, data)
    resumed = values(tiny_model, tmp_path / "sft-rest", "sft", **keys)
    resumed |= {"resume_from_checkpoint": str(tmp_path / "sft-many" / f"checkpoint-{6 // processes + 1}")}
    jobs["resumed"] = train_job(resumed, tmp_path / "sft-data")
    run_together(jobs, tmp_path, processes)
    for stage in made:
        one, many = tmp_path / f"{stage}-one", tmp_path / f"{stage}-many"
        assert losses(many, "trained_tokens") == losses(one, "trained_tokens")
        if stage == "kto":  # its KL term is a mean over the processes, so one process has another
            continue
        assert losses(many) == pytest.approx(losses(one), abs=1e-5), stage
        old, new = (load_file(folder / "model.safetensors") for folder in (one, many))
        assert max(float((old[name] - new[name]).abs().max()) for name in old) < 1e-4
    whole, rest = (losses(tmp_path / f"sft-{name}") for name in ("many", "rest"))
    assert rest == whole[-len(rest) :], "the second epoch goes on in its own order"
    found = [json.loads((tmp_path / f"sft-{n}" / "eval_results.json").read_text()) for n in ("one", "many")]
    assert found[1]["eval_loss"] == pytest.approx(found[0]["eval_loss"], abs=1e-5)


def test_a_workers_fault_arrives_as_what_it_is(tiny_model: Path, tmp_path: Path, make: Any) -> None:
    """The first process alone reads the shards; the other one waits for it, and must not go on waiting."""
    out = make.out(tmp_path / "out", "lm", {"train": make.lm(8)})
    shard = sorted((out / "train").iterdir())[0]
    data = bytearray(shard.read_bytes())
    data[-20] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataFault, match="changed since it was packed"):
        launched(out, values(tiny_model, tmp_path / "o", "sft"))
