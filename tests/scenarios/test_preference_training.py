"""Every preference method learns from the same shards, full and LoRA, with its loss where its paper has it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.training import losses

pytestmark = pytest.mark.train
pytest.importorskip("trl")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    return make.out(tmp_path_factory.mktemp("pairs"), "pref", {"train": make.pref(32), "validation": make.pref(4, 1)})  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def singles(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    splits = {"train": make.unpaired(32), "validation": make.unpaired(4, 1)}
    return make.out(tmp_path_factory.mktemp("singles"), "unpaired", splits)  # type: ignore[no-any-return]


# method, config keys, how far the loss of 16 steps must fall (full, LoRA)
METHODS = [
    ("dpo", {"stage": "dpo"}, (0.5, 0.9)),
    ("ipo", {"stage": "dpo", "pref_loss": "ipo"}, (0.8, 0.98)),
    ("kto", {"stage": "kto"}, (0.8, 0.97)),
    ("rm", {"stage": "rm"}, (0.6, 0.9)),
    ("orpo", {"stage": "dpo", "pref_loss": "orpo"}, (0.85, 0.98)),
    ("simpo", {"stage": "dpo", "pref_loss": "simpo", "pref_beta": 2.0}, (0.9, 0.97)),
]


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize(("name", "keys", "share"), METHODS, ids=[m[0] for m in METHODS])
def test_the_loss_falls(
    name: str, keys: dict[str, Any], share: tuple[float, float], tuning: str, pairs: Path, singles: Path,
    run_job: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import datasets
    import transformers

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("text was tokenized, or the data was mapped, while training")

    for attribute in ("map", "filter"):
        monkeypatch.setattr(datasets.Dataset, attribute, refuse)
    for attribute in ("__call__", "encode", "_encode_plus"):
        monkeypatch.setattr(transformers.PreTrainedTokenizerFast, attribute, refuse)
    full = tuning == "full"
    rate = 2e-3 if full else 1e-2
    run_job(
        singles if name == "kto" else pairs,
        tmp_path,
        **keys,
        finetuning_type=tuning,
        learning_rate=rate,
        max_steps=16,
        per_device_train_batch_size=8,
        do_eval=full,
    )
    seen = losses(tmp_path)
    assert sum(seen[-4:]) < share[0 if full else 1] * sum(seen[:4])
    if full:
        assert math.isfinite(json.loads((tmp_path / "eval_results.json").read_text())["eval_loss"])


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_adapters_of_the_reference_are_used_without_another_reference(
    tuning: str, pairs: Path, run_job: Run, make: Any, tmp_path: Path
) -> None:
    """The policy starts at the base model, so its first loss is log 2 only when the reference is the base as well."""
    first = make.out(tmp_path / "lm", "lm", {"train": make.lm(8)})
    run_job(first, tmp_path / "a", finetuning_type="lora", learning_rate=5e-2, max_steps=3)
    keys = {"stage": "dpo", "max_steps": 1, "finetuning_type": tuning, "ref_model_adapters": str(tmp_path / "a")}
    run_job(pairs, tmp_path / "run", **keys)
    assert abs(losses(tmp_path / "run")[0] - math.log(2)) > 1e-4


def test_the_head_of_a_reward_model_follows_the_seed(pairs: Path, run_job: Run, tmp_path: Path) -> None:
    import torch

    seen = []
    for number, seed in enumerate((7, 7, 8)):
        torch.manual_seed(number)
        run_job(pairs, tmp_path / str(number), stage="rm", max_steps=1, seed=seed)
        seen.append(losses(tmp_path / str(number))[0])
    assert seen[0] == seen[1] != seen[2]
