"""A configuration becomes one plain job; whatever cannot be done is said, all of it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.runs.train.job_from_config import job_from_config
from registry.errors import UsageFault
from stages.train.job import TrainJob
from tests.support.jobs import predict_job, train_job

BASE: dict[str, object] = {"model_name_or_path": "m", "output_dir": "o"}


def job(**keys: object) -> TrainJob:
    return train_job({**BASE, **keys}, Path("prepared"))


def test_defaults_are_llama_factorys() -> None:
    made = job()
    assert (made.stage, made.tuning.kind, made.tuning.lora_rank, made.tuning.lora_target) == (
        "sft",
        "lora",
        8,
        ("all",),
    )
    assert (made.preference.loss, made.preference.beta) == ("sigmoid", 0.1)
    assert made.arguments["per_device_train_batch_size"] == 8


@pytest.mark.parametrize(
    ("keys", "method"),
    [
        ({"stage": "pt"}, "sft"),
        ({"stage": "sft"}, "sft"),
        ({"stage": "dpo"}, "dpo"),
        ({"stage": "dpo", "pref_loss": "orpo"}, "orpo"),
        ({"stage": "dpo", "pref_loss": "simpo"}, "simpo"),
        ({"stage": "orpo"}, "orpo"),
        ({"stage": "simpo"}, "simpo"),
        ({"stage": "kto"}, "kto"),
        ({"stage": "rm"}, "rm"),
    ],
)
def test_stage_and_loss_choose_the_trainer(keys: dict[str, object], method: str) -> None:
    assert job(**keys).method == method


def test_ppo_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(UsageFault, match="GRPO or RLOO"):
        job(stage="ppo")


def test_every_mistake_in_the_configuration_is_told_at_once() -> None:
    with pytest.raises(UsageFault) as caught:
        train_job(
            {
                "stage": "sfft",
                "finetuning_type": "lorra",
                "lora_rank": "eight",
                "plot_loss": "perhaps",
                "use_badam": True,
                "flash_attn": "fa9",
            },
            Path("d"),
        )
    told = "\n".join(caught.value.problems)
    for word in ("stage", "finetuning_type", "lora_rank", "plot_loss", "use_badam", "flash_attn"):
        assert word in told
    assert 'did you mean "sft"' in told


def test_every_unsupported_option_is_told_at_once() -> None:
    config = load_config(
        None,
        {
            "stage": "grpo", "init_special_tokens": "desc_init", "lora_target": "",
            "dpo_label_smoothing": 0.5, "early_stopping_steps": 2,
        },
    )  # fmt: skip
    with pytest.raises(UsageFault) as caught:
        job_from_config(config, Path("d"))
    keys = {problem.partition(":")[0] for problem in caught.value.problems}
    assert keys == {
        "stage", "model_name_or_path", "init_special_tokens", "lora_target", "dpo_label_smoothing",
        "eval_strategy",
    }  # fmt: skip


def test_a_warmup_share_reaches_the_trainer() -> None:
    assert job(warmup_ratio=0.03).arguments["warmup_steps"] == 0.03
    assert job(warmup_ratio=0.03, warmup_steps=10).arguments["warmup_steps"] == 10


def test_older_names_are_todays() -> None:
    assert job(evaluation_strategy="steps").arguments["eval_strategy"] == "steps"
    assert job(kto_ftx=0.1, stage="kto").preference.ftx == 0.1
    assert job(enable_liger_kernel=True).arguments["use_liger_kernel"] is True


def test_numbers_may_be_text_as_yaml_leaves_them() -> None:
    assert job(pref_beta="5e-1", lora_rank="16").preference.beta == 0.5
    assert job(learning_rate="1e-4").arguments["learning_rate"] == 1e-4


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"stage": "kto", "per_device_train_batch_size": 1}, "per_device_train_batch_size"),
        ({"stage": "kto", "precompute_ref_log_probs": True}, "precompute_ref_log_probs"),
        ({"finetuning_type": "full", "adapter_name_or_path": "a"}, "adapter_name_or_path"),
        ({"finetuning_type": "full", "quantization_bit": 4}, "quantization_bit"),
        ({"train_from_scratch": True, "quantization_bit": 4}, "quantization_bit"),
        ({"stage": "dpo", "pref_loss": "exo_pair"}, "dpo_label_smoothing"),
        ({"stage": "dpo", "pref_loss": "kto_pair"}, "stage kto"),
        ({"load_best_model_at_end": True}, "eval_strategy"),
        ({"early_stopping_steps": 1}, "eval_strategy"),
        ({"flash_attn": "fa9"}, "flash_attn"),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": 0}, "freeze_trainable_layers"),
    ],
)
def test_combinations_that_cannot_work_are_refused(keys: dict[str, object], word: str) -> None:
    with pytest.raises(UsageFault, match=word):
        job(**keys)


@pytest.mark.parametrize(
    ("given", "resume"),
    [
        (None, None),
        (False, None),
        (True, "last"),
        ("true", "last"),
        ("last", "last"),
        ("false", None),
        ("o/checkpoint-5", "o/checkpoint-5"),
    ],
)
def test_resume_may_be_a_flag_or_a_folder(given: object, resume: str | None) -> None:
    assert job(resume_from_checkpoint=given).run.resume == resume


@pytest.mark.parametrize(
    ("keys", "attention"),
    [
        ({}, ""),
        ({"flash_attn": "fa2"}, "flash_attention_2"),
        ({"flash_attn": "disabled"}, "eager"),
        ({"flash_attn": "fa2", "attn_implementation": "flex_attention"}, "flex_attention"),
    ],
)
def test_attention_goes_by_transformers_names(keys: dict[str, object], attention: str) -> None:
    assert job(**keys).model.attention == attention


def test_beams_of_prediction_win() -> None:
    assert predict_job({**BASE, "num_beams": 2}, Path("d")).generation.num_beams == 2
    assert predict_job({**BASE, "num_beams": 2, "eval_num_beams": 3}, Path("d")).generation.num_beams == 3
