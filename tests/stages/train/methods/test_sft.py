"""Supervised fine-tuning from shards: it learns, packed or not, and never goes back to text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.training import losses, unset_fields

pytestmark = pytest.mark.train
pytest.importorskip("trl")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    return make.out(tmp_path_factory.mktemp("plain"), "lm", {"train": make.lm(60), "validation": make.lm(6, 1)})  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    splits = {"train": make.packed(make.lm(60)), "validation": make.packed(make.lm(6, 1))}
    return make.out(tmp_path_factory.mktemp("packed"), "lm", splits, packed=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("shape", ["plain", "packed"])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_the_loss_falls(shape: str, tuning: str, run_job: Run, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    rate = 3e-3 if tuning == "full" else 1e-2
    run_job(request.getfixturevalue(shape), tmp_path, finetuning_type=tuning, learning_rate=rate, max_steps=20)
    seen = losses(tmp_path)
    assert len(seen) == 20
    assert sum(seen[-5:]) < (0.75 if tuning == "full" else 0.95) * sum(seen[:5])


def test_training_calls_no_tokenizer_and_makes_no_pass_over_the_data(
    packed: Path, run_job: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import tokenizers
    import transformers

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("text was tokenized, or the data was mapped, while training")

    for name in ("map", "filter"):
        monkeypatch.setattr(datasets.Dataset, name, refuse)
    for name in ("__call__", "encode", "_encode_plus"):
        monkeypatch.setattr(transformers.PreTrainedTokenizerFast, name, refuse)
    assert tokenizers.Tokenizer is not None
    run_job(packed, tmp_path, max_steps=2, do_eval=True)
    with pytest.raises(AssertionError):
        transformers.AutoTokenizer.from_pretrained(tmp_path)("a")


def one_step(data: Path, output: Path, run_job: Run, **keys: object) -> dict[str, Any]:
    from safetensors.torch import load_file

    settings: dict[str, object] = {
        "max_steps": 1,
        "optim": "sgd",
        "learning_rate": 1.0,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "disable_shuffling": True,
    }
    run_job(data, output, **{**settings, **keys})
    return load_file(output / "model.safetensors")  # type: ignore[no-any-return]


@pytest.mark.parametrize("attention", ["sdpa", "disabled"])
def test_a_step_from_packed_rows_is_the_step_from_separate_rows(
    attention: str, make: Any, run_job: Run, tmp_path: Path, tiny_model: Path
) -> None:
    from safetensors.torch import load_file

    rows = make.lm(12, 5)
    separate = make.out(tmp_path / "separate", "lm", {"train": rows})
    together = make.out(tmp_path / "together", "lm", {"train": make.packed(rows, 4)}, packed=True)
    a = one_step(separate, tmp_path / "a", run_job, per_device_train_batch_size=12, flash_attn=attention)
    b = one_step(together, tmp_path / "b", run_job, per_device_train_batch_size=3, flash_attn=attention)
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-5
    # the comparison means something only if the step moved the weights
    start = load_file(tiny_model / "model.safetensors")
    assert max(float((a[name] - start[name]).abs().max()) for name in a) > 1e-2


def test_pretraining_rows_train_like_any(run_job: Run, tmp_path: Path, make: Any) -> None:
    blocks = [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in make.lm(30)]
    out = make.out(tmp_path / "out", "lm", {"train": make.packed(blocks, 2)}, packed=True)
    run_job(out, tmp_path / "o", stage="pt", max_steps=10)
    seen = losses(tmp_path / "o")
    assert sum(seen[-3:]) < 0.9 * sum(seen[:3])


def test_every_field_of_trls_configuration_is_set_by_us() -> None:
    from trl import SFTConfig

    from stages.train.methods import sft

    assert unset_fields(sft.config, SFTConfig) == []


def test_an_evaluations_loss_is_the_mean_over_its_tokens(
    run_job: Run, tmp_path: Path, make: Any, tiny_model: Path
) -> None:
    """Whatever the batch, packed or not; perplexity is its exponential."""
    import torch
    import transformers

    rows = make.lm(11, 3)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    total = count = 0.0
    with torch.no_grad():
        for row in rows:
            targets = torch.tensor(row["labels"])[1:]
            scores = model(torch.tensor([row["input_ids"]])).logits[0, :-1].double().log_softmax(-1)
            kept = targets != -100
            total -= float(scores[kept].gather(1, targets[kept][:, None]).sum())
            count += int(kept.sum())
    splits = {"train": make.lm(2), "validation": rows}
    shapes = {
        False: make.out(tmp_path / "plain", "lm", splits),
        True: make.out(tmp_path / "packed", "lm", {k: make.packed(v) for k, v in splits.items()}, packed=True),
    }
    for packs, size in ((False, 1), (False, 3), (False, 4), (False, 11), (True, 1)):
        keys = {"do_train": False, "do_eval": True, "per_device_eval_batch_size": size}
        metrics, _ = run_job(shapes[packs], tmp_path / f"{packs}{size}", **keys)
        assert metrics["eval_loss"] == pytest.approx(total / count, abs=1e-6), (packs, size)


def test_evaluations_on_each_data_set_are_shown_and_logged(run_job: Run, tmp_path: Path, make: Any) -> None:
    splits = {"train": make.lm(8), "validation_a": make.lm(4, 1), "validation_b": make.lm(4, 2)}
    out = make.out(tmp_path / "out", "lm", splits)
    metrics, said = run_job(out, tmp_path / "o", max_steps=2, eval_strategy="steps", eval_steps=1, do_eval=True)
    entries = [json.loads(text) for text in (tmp_path / "o" / "trainer_log.jsonl").read_text().splitlines()]
    for name in ("eval_a_loss", "eval_b_loss"):
        assert sum(name in entry for entry in entries) >= 2
        assert any(name in text and "perplexity" in text for text in said)
    assert metrics["eval_a_perplexity"] == pytest.approx(2.718281828 ** metrics["eval_a_loss"])
