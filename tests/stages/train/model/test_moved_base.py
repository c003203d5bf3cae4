"""A PiSSA run's folders, checkpoints among them, hold an adapter that fits the model as it was published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.train.model.moved_base import RAW_FOLDER

pytestmark = pytest.mark.train
pytest.importorskip("peft")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    return make.out(tmp_path_factory.mktemp("data"), "lm", {"train": make.lm(32)})  # type: ignore[no-any-return]


def logits(base: Path, adapter: Path | None = None) -> Any:
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    if adapter is not None:
        model = peft.PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        return model.eval()(torch.tensor([[20, 21, 22, 23]])).logits


def test_a_pissa_adapter_fits_the_model_as_it_was_published(
    data: Path, run_job: Run, tmp_path: Path, tiny_model: Path
) -> None:
    from safetensors.torch import load_file

    run_job(data, tmp_path, finetuning_type="lora", pissa_init=True, pissa_iter=4, lora_rank=4, max_steps=6)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 8
    assert json.loads((tmp_path / "adapter_config.json").read_text())["init_lora_weights"] is True
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert next(iter(weights.values())).abs().max() > 0
    untrained, trained = logits(tiny_model), logits(tiny_model, tmp_path)
    assert 1e-4 < float((untrained - trained).abs().max()) < 10


PISSA = {"finetuning_type": "lora", "pissa_init": True, "pissa_iter": 4, "lora_rank": 4, "learning_rate": 1e-2}
SAVED = {"save_strategy": "steps", "save_steps": 3, "max_steps": 6}


def test_a_checkpoint_of_a_pissa_run_is_the_runs_model_and_goes_on_exactly(
    data: Path, run_job: Run, tmp_path: Path, tiny_model: Path
) -> None:
    from safetensors.torch import load_file

    whole, rest = tmp_path / "whole", tmp_path / "rest"
    run_job(data, whole, **PISSA, **SAVED)
    last = whole / "checkpoint-6"
    assert float((logits(tiny_model, whole) - logits(tiny_model, last)).abs().max()) < 1e-5
    rest.mkdir()
    shutil.copytree(whole / "checkpoint-3", rest / "checkpoint-3")
    run_job(data, rest, **PISSA, **SAVED)
    one, two = (load_file(folder / "adapter_model.safetensors") for folder in (whole, rest))
    assert all(float((one[name] - two[name]).abs().max()) < 1e-6 for name in one)


def test_another_decomposition_is_not_gone_on_from(data: Path, run_job: Run, tmp_path: Path) -> None:
    run_job(data, tmp_path, **PISSA, **{**SAVED, "max_steps": 3})
    start = tmp_path / "checkpoint-3" / RAW_FOLDER / "adapter_start"
    assert (start / "adapter_model.safetensors").is_file()
    with pytest.raises(UsageFault, match="decomposes the base weights otherwise"):
        run_job(data, tmp_path, **PISSA, **{**SAVED, "max_steps": 5, "seed": 8})


def test_scaling_is_kept_for_rank_stabilised_adapters(
    data: Path, run_job: Run, tmp_path: Path, tiny_model: Path
) -> None:
    """Before the first step has an effect, the ordinary LoRA adds nothing."""
    keys = {**PISSA, "use_rslora": True, "learning_rate": 0.0, "max_steps": 1}
    run_job(data, tmp_path, **keys)
    assert float((logits(tiny_model, tmp_path) - logits(tiny_model)).abs().max()) < 1e-4
