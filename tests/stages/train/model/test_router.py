"""A mixture of experts is trained without its balance loss unless it is set, and saved with its own settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault

pytestmark = pytest.mark.train
transformers = pytest.importorskip("transformers")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("experts")
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=1088, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, router_aux_loss_coef=0.02,
        bos_token_id=0, eos_token_id=1, pad_token_id=2,
    )  # fmt: skip
    transformers.MixtralForCausalLM(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("kind", "stage", "loss"), [("lm", "sft", ""), ("pref", "dpo", "orpo"), ("pref", "dpo", "")])
def test_the_balance_loss_is_off_unless_it_is_set(
    kind: str, stage: str, loss: str, experts: Path, make: Any, run_job: Run, tmp_path: Path
) -> None:
    rows = make.lm(4) if kind == "lm" else make.pref(4)
    out = make.out(tmp_path / "out", kind, {"train": rows})
    keys = {"model_name_or_path": str(experts), "stage": stage, "max_steps": 1, **({"pref_loss": loss} if loss else {})}
    losses = {}
    for weight in (None, 0.0, 0.5):
        given = {} if weight is None else {"moe_aux_loss_coef": weight}
        folder = tmp_path / str(weight)
        run_job(out, folder, **keys, **given)
        losses[weight] = json.loads((folder / "trainer_log.jsonl").read_text().splitlines()[0])["loss"]
        saved = json.loads((folder / "config.json").read_text())
        assert (saved["output_router_logits"], saved["router_aux_loss_coef"]) == (False, 0.02)
    assert losses[None] == losses[0.0]
    assert losses[0.5] > losses[None] + 0.1


def test_a_model_without_a_router_is_refused_a_balance_loss(make: Any, run_job: Run, tmp_path: Path) -> None:
    out = make.out(tmp_path / "out", "lm", {"train": make.lm(4)})
    with pytest.raises(UsageFault, match="has no router"):
        run_job(out, tmp_path / "run", moe_aux_loss_coef=0.1, max_steps=1)
