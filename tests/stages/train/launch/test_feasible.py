"""Ordinary mistakes are reported before anything is packed, with the key that has to change."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from registry.errors import MachineFault, UsageFault
from stages.train.job import TrainJob
from stages.train.launch.feasible import check_alone, check_feasible
from tests.support.jobs import train_job
from tests.support.training import TINY

pytestmark = pytest.mark.train

EVALUATES = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
LORA = {"finetuning_type": "lora"}


def job(**keys: Any) -> TrainJob:
    start = {"model_name_or_path": str(TINY), "output_dir": "o", "use_cpu": True, "finetuning_type": "full"}
    return train_job({**start, **keys}, Path("d"))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"report_to": "foo"}, 'report_to: there is no panel "foo"'),
        ({"report_to": "tensorbord"}, 'did you mean "tensorboard"'),
        ({"lr_scheduler_type": "warmup_stable_decay"}, "num_decay_steps"),
        ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "eval_strategy"),
        ({**EVALUATES, "early_stopping_steps": 2}, "metric_for_best_model"),
        ({**EVALUATES, "metric_for_best_model": "eval_acuracy", "stage": "rm"}, 'did you mean "accuracy"'),
        ({**EVALUATES, "metric_for_best_model": "eval_accuracy"}, "mean_token_accuracy"),
        ({**EVALUATES, "load_best_model_at_end": True, "save_steps": 3}, "save_steps must be a multiple"),
        ({"stage": "dpo", "group_by_length": True}, "group_by_length"),
        ({"attn_implementation": "flex_attention"}, "flex_attention cannot train on a CPU"),
        ({**LORA, "init_lora_weights": "loftq"}, "loftq needs a GPU"),
        ({**LORA, "quantization_bit": 3}, "bnb has 4 and 8, not 3"),
        ({**LORA, "quantization_bit": 4, "quantization_method": "gptq"}, "gptq does not quantize"),
        ({**LORA, "quantization_bit": 4, "quantization_method": "mxfp4"}, "use bnb, hqq or eetq"),
        ({"deepspeed": {"train_batch_size": 32}}, "train_batch_size is 32"),
        ({"deepspeed": {"train_micro_batch_size_per_gpu": 7}}, "per_device_train_batch_size"),
        ({"deepspeed": {"gradient_clipping": 0.5}}, "max_grad_norm"),
        ({"torch_compile": True, "torch_compile_backend": "inducter"}, 'did you mean "inductor"'),
        ({"torch_compile": True, "torch_compile_mode": "fastest"}, "max-autotune"),
        ({"push_to_hub": True}, "hub_model_id is missing"),
    ],
)
def test_a_setting_that_cannot_work_is_named(keys: dict[str, object], told: str) -> None:
    with pytest.raises(UsageFault) as fault:
        check_feasible(job(**keys), {})
    assert told in "; ".join(fault.value.problems)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"torch_compile": True, "torch_compile_backend": "inductor", "torch_compile_mode": "reduce-overhead"},
        {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 3}},
        {**EVALUATES, "early_stopping_steps": 2, "metric_for_best_model": "loss"},
        {**EVALUATES, "eval_on_each_dataset": True, "metric_for_best_model": "eval_chats_loss"},
        {**EVALUATES, "stage": "dpo", "metric_for_best_model": "eval_rewards/accuracies"},
        {"deepspeed": {"train_batch_size": "auto", "gradient_clipping": 1.0}},
        {"deepspeed": {"train_batch_size": 16}, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
    ],
)
def test_what_works_is_let_pass(keys: dict[str, object]) -> None:
    check_feasible(job(**keys), {})


@pytest.mark.parametrize(
    ("keys", "module", "told"),
    [
        ({"optim": "paged_adamw_8bit"}, "bitsandbytes", "optim: paged_adamw_8bit: bitsandbytes"),
        ({"optim": "schedule_free_adamw"}, "schedulefree", "schedulefree"),
        ({"use_galore": True}, "galore_torch", "galore-torch"),
        ({"use_apollo": True}, "apollo_torch", "apollo-torch"),
        ({**LORA, "quantization_bit": 4}, "bitsandbytes", "quantization_bit: 4: bitsandbytes"),
        ({**LORA, "quantization_bit": 4, "quantization_method": "hqq"}, "hqq", "hqq"),
        ({"report_to": "mlflow"}, "mlflow", "mlflow"),
        ({"plot_loss": True}, "matplotlib", "matplotlib"),
    ],
)
def test_a_missing_package_is_named_with_the_key_that_wants_it(
    keys: dict[str, object], module: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else real(name, *rest))
    with pytest.raises(MachineFault) as fault:
        check_feasible(job(**keys), {})
    assert told in fault.value.problems[0]
    assert "pip install" in fault.value.hint


def test_wandb_needs_a_login_that_nobody_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("stages.train.hardware._has", lambda module: True)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(MachineFault, match="no login"):
        check_feasible(job(report_to="wandb"), {})
    check_feasible(job(report_to="wandb"), {"WANDB_MODE": "offline"})
    check_feasible(job(report_to="wandb"), {"WANDB_API_KEY": "k"})
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    check_feasible(job(report_to="wandb"), {})


def test_a_mistyped_module_is_found_without_weights_being_loaded(tiny_model: Path) -> None:
    check_feasible(job(**LORA, model_name_or_path=str(tiny_model), lora_target="q_proj,v_proj"), {})
    check_feasible(job(**LORA, model_name_or_path=str(tiny_model), additional_target="lm_head"), {})
    with pytest.raises(UsageFault, match='did you mean "q_proj"'):
        check_feasible(job(**LORA, model_name_or_path=str(tiny_model), lora_target="q_prj"), {})


def test_a_damaged_weight_file_decides_nothing(tmp_path: Path) -> None:
    """It is reported when it is loaded; here the module names come from the model's config."""
    (tmp_path / "config.json").write_text((TINY / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + json.dumps({}).encode())
    check_feasible(job(**LORA, model_name_or_path=str(tmp_path), lora_target="q_proj"), {})


def test_fsdp_wants_several_processes() -> None:
    with pytest.raises(UsageFault, match="fsdp"):
        check_alone(job(fsdp="full_shard"), 1)
    check_alone(job(fsdp="full_shard"), 2)
