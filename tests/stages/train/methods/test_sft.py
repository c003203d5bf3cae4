"""Supervised fine-tuning from shards: it learns, packed or not, and never goes back to text."""

from __future__ import annotations

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
