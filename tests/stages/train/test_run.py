"""A run from start to end: what it leaves, what it counts, and what it refuses before the first step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import DataFault, MachineFault, UsageFault

pytestmark = pytest.mark.train
pytest.importorskip("trl")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    return make.out(tmp_path_factory.mktemp("plain"), "lm", {"train": make.lm(60), "validation": make.lm(6, 1)})  # type: ignore[no-any-return]


def test_a_run_leaves_what_llama_factorys_users_look_for(plain: Path, run_job: Run, tmp_path: Path) -> None:
    metrics, said = run_job(
        plain, tmp_path, max_steps=4, save_strategy="steps", save_steps=2, plot_loss=True, do_eval=True, bf16=True
    )
    for name in (
        "config.json", "model.safetensors", "tokenizer.json", "trainer_log.jsonl", "trainer_state.json",
        "train_results.json", "all_results.json", "eval_results.json", "training_loss.png",
        "checkpoint-2/optimizer.pt", "checkpoint-4/prep_checkpoint.json",
    ):  # fmt: skip
        assert (tmp_path / name).is_file(), name
    assert not (tmp_path / "README.md").exists()
    entry = json.loads((tmp_path / "trainer_log.jsonl").read_text().splitlines()[0])
    assert {
        "current_steps",
        "total_steps",
        "loss",
        "lr",
        "epoch",
        "percentage",
        "elapsed_time",
        "remaining_time",
    } <= set(entry)
    results = json.loads((tmp_path / "all_results.json").read_text())
    assert results["perplexity"] == pytest.approx(metrics["perplexity"])
    assert any("bf16" in text and "off" in text for text in said), "a setting that was turned off is reported"
    assert any(text.startswith("step 1/4") for text in said)
    assert (tmp_path / "training_loss.png").read_bytes()[:4] == b"\x89PNG"


def test_trained_tokens_are_counted_to_the_token(plain: Path, run_job: Run, tmp_path: Path, make: Any) -> None:
    metrics, _ = run_job(plain, tmp_path, max_steps=-1, num_train_epochs=1.0, per_device_train_batch_size=6)
    rows = make.lm(60)
    assert metrics["tokens_seen"] == sum(len(row["input_ids"]) for row in rows)
    assert metrics["trained_tokens_seen"] == sum(sum(label != -100 for label in row["labels"]) for row in rows)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"stage": "dpo"}, "pref shards"),
        ({"eval_strategy": "epoch", "learning_rate": "fast"}, "learning_rate"),
        ({"deepspeed": "z4"}, "deepspeed"),
        ({"finetuning_type": "lora", "lora_target": "q_prj"}, 'did you mean "q_proj"'),
        ({"finetuning_type": "lora", "lora_target": "lm_head"}, "additional_target"),
        ({"model_name_or_path": "nowhere/at-all-404"}, "model_name_or_path"),
        ({"resume_from_checkpoint": True}, "no complete checkpoint"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_first_step(
    keys: dict[str, object], word: str, plain: Path, run_job: Run, tmp_path: Path
) -> None:
    with pytest.raises(UsageFault) as caught:
        run_job(plain, tmp_path / "o", **keys)
    assert word in str(caught.value) + caught.value.hint
    assert not (tmp_path / "o" / "trainer_log.jsonl").exists()


def test_evaluating_alone_trains_nothing(plain: Path, run_job: Run, tmp_path: Path) -> None:
    metrics, _ = run_job(plain, tmp_path, do_train=False, do_eval=True)
    assert metrics["perplexity"] == pytest.approx(2.718281828 ** metrics["eval_loss"])
    assert (tmp_path / "eval_results.json").exists()
    assert not (tmp_path / "model.safetensors").exists()


def test_memory_that_ran_out_is_the_machines_fault_and_another_error_stays_one(
    plain: Path, run_job: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.train.monitor.trainer_mixin import Watched

    def failing(text: str) -> Callable[..., Any]:
        def step(*_: object, **__: object) -> Any:
            raise RuntimeError(text)

        return step

    monkeypatch.setattr(Watched, "training_step", failing("CUDA out of memory. Tried to allocate"))
    with pytest.raises(MachineFault, match="step 1") as caught:
        run_job(plain, tmp_path / "a")
    assert "per_device_train_batch_size" in caught.value.hint
    monkeypatch.setattr(Watched, "training_step", failing("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        run_job(plain, tmp_path / "b")


def test_damaged_shards_stop_the_run(make: Any, run_job: Run, tmp_path: Path) -> None:
    out = make.out(tmp_path / "out", "lm", {"train": make.lm(4)}, shards=1)
    (shard,) = (out / "train").iterdir()
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(DataFault, match="the manifest says"):
        run_job(out, tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    rows = {"train": make.lm(12), "validation": make.lm(4, 1)}
    found: Path = make.out(tmp_path_factory.mktemp("lm"), "lm", rows)
    return found


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tokens(data: Path) -> int:
    manifest = json.loads((data / "manifest.json").read_text())
    return int(manifest["splits"]["train"]["tokens"])


def test_a_finished_run_started_again_changes_nothing(data: Path, run_job: Run, tmp_path: Path) -> None:
    keys = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    first, _ = run_job(data, tmp_path, **keys)
    before = digests(tmp_path)
    again, said = run_job(data, tmp_path, **keys)
    assert digests(tmp_path) == before
    assert again["train_loss"] == first["train_loss"] > 0
    assert any("ended after 4 steps and nothing is changed" in text for text in said)


def test_a_longer_run_goes_on_from_a_finished_one(data: Path, run_job: Run, tmp_path: Path) -> None:
    first, _ = run_job(data, tmp_path, max_steps=2, save_strategy="steps", save_steps=2)
    further, said = run_job(data, tmp_path, max_steps=4, save_strategy="steps", save_steps=2)
    assert any("done: 4 steps" in text for text in said)
    assert further["tokens_seen"] > first["tokens_seen"]


@pytest.mark.parametrize("logging_steps", [1, 2, 100])
def test_tokens_are_counted_to_the_last_step(data: Path, run_job: Run, tmp_path: Path, logging_steps: int) -> None:
    result, _ = run_job(data, tmp_path, max_steps=-1, num_train_epochs=1, logging_steps=logging_steps)
    assert result["tokens_seen"] == tokens(data)


def test_tokens_are_the_same_after_a_resume(data: Path, run_job: Run, tmp_path: Path) -> None:
    keys = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 2, "logging_steps": 3}
    run_job(data, tmp_path, max_steps=2, **keys)
    result, _ = run_job(data, tmp_path, max_steps=6, **keys)
    assert result["tokens_seen"] == 2 * tokens(data)


def test_perplexity_belongs_to_the_language_loss_alone(data: Path, make: Any, run_job: Run, tmp_path: Path) -> None:
    keys = {"max_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    result, said = run_job(data, tmp_path / "sft", **keys)
    assert result["perplexity"] > 1
    assert any("  perplexity " in text for text in said)
    pairs = make.out(tmp_path / "pairs", "pref", {"train": make.pref(4), "validation": make.pref(4, 1)})
    result, said = run_job(pairs, tmp_path / "orpo", stage="dpo", pref_loss="orpo", **keys)
    assert "perplexity" not in result
    assert not any("  perplexity " in text for text in said)


def test_a_run_killed_before_its_last_save_takes_no_step_more(data: Path, run_job: Run, tmp_path: Path) -> None:
    """With the last checkpoint complete and no result, the next start saves that checkpoint's weights."""
    keys = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2}
    run_job(data, tmp_path, **keys)
    weights = (tmp_path / "model.safetensors").read_bytes()
    for name in ("model.safetensors", "prep_train.json", "all_results.json"):
        (tmp_path / name).unlink()
    result, said = run_job(data, tmp_path, **keys)
    assert (tmp_path / "model.safetensors").read_bytes() == weights
    assert any("done: 2 steps" in text for text in said)
    assert result["train_loss"] > 0


def test_a_sharded_run_killed_before_its_last_save_takes_no_step_more(data: Path, run_job: Run, tmp_path: Path) -> None:
    """DeepSpeed's checkpoint is not put together here: the user hears where its weights are."""
    from types import SimpleNamespace

    from stages.train.run import _only_saving_is_left

    run_job(data, tmp_path, max_steps=2, save_strategy="steps", save_steps=2)
    setup = SimpleNamespace(deepspeed={"zero_optimization": {"stage": 2}}, job=SimpleNamespace(arguments={}))
    start = tmp_path / "checkpoint-2"
    ended, longer = (SimpleNamespace(args=SimpleNamespace(max_steps=steps)) for steps in (2, 3))
    with pytest.raises(UsageFault, match="has all the steps") as caught:
        _only_saving_is_left(setup, ended, start)  # type: ignore[arg-type]
    assert str(start) in caught.value.hint
    assert _only_saving_is_left(setup, longer, start) == {}  # type: ignore[arg-type]
