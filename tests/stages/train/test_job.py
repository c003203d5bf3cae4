"""A LLaMA-Factory config becomes one plain job; whatever cannot be done is said, all of it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import UsageFault
from stages.train.from_config import job_from_config
from stages.train.job import TrainJob, from_json, to_json

BASE: dict[str, object] = {"model_name_or_path": "m", "output_dir": "o"}


def job(**keys: object) -> TrainJob:
    return job_from_config({**BASE, **keys}, Path("prepared"))


def test_defaults_are_llama_factorys() -> None:
    made = job()
    assert (made.stage, made.tuning.kind, made.tuning.lora_rank, made.tuning.lora_target) == (
        "sft",
        "lora",
        8,
        ("all",),
    )
    assert (made.preference.loss, made.preference.beta) == ("sigmoid", 0.1)


def test_a_job_survives_its_file() -> None:
    made = job(
        stage="dpo",
        adapter_name_or_path="a,b",
        lora_target=["q_proj", "v_proj"],
        deepspeed={"zero": 1},
        warmup_ratio=0.1,
    )
    assert from_json(to_json(made)) == made


def test_a_job_of_another_version_is_refused() -> None:
    with pytest.raises(UsageFault, match="another version"):
        from_json(to_json(job()).replace('"version": 1', '"version": 99'))


@pytest.mark.parametrize(
    ("keys", "method"),
    [
        ({"stage": "pt"}, "sft"),
        ({"stage": "sft"}, "sft"),
        ({"stage": "dpo"}, "dpo"),
        ({"stage": "dpo", "pref_loss": "orpo"}, "orpo"),
        ({"stage": "dpo", "pref_loss": "simpo"}, "simpo"),
        ({"stage": "kto"}, "kto"),
        ({"stage": "rm"}, "rm"),
    ],
)
def test_stage_and_loss_choose_the_trainer(keys: dict[str, object], method: str) -> None:
    assert job(**keys).method == method


def test_ppo_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(UsageFault, match="GRPO or RLOO"):
        job(stage="ppo")


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(UsageFault) as caught:
        job_from_config(
            {
                "stage": "sfft",
                "finetuning_type": "lorra",
                "lora_rank": "eight",
                "plot_loss": "perhaps",
                "use_badam": True,
            },
            Path("d"),
        )
    told = "\n".join(caught.value.problems)
    for word in ("stage", "finetuning_type", "lora_rank", "plot_loss", "use_badam", "model_name_or_path", "output_dir"):
        assert word in told
    assert 'did you mean "sft"' in told


def test_a_warmup_share_reaches_the_trainer_with_a_note() -> None:
    made = job(warmup_ratio=0.03)
    assert made.arguments["warmup_steps"] == 0.03
    assert "warmup_ratio" in made.notes[0]
    assert job(warmup_ratio=0.03, warmup_steps=10).arguments["warmup_steps"] == 10


def test_older_names_are_todays() -> None:
    assert job(evaluation_strategy="steps").arguments["eval_strategy"] == "steps"
    assert job(kto_ftx=0.1, stage="kto").preference.ftx == 0.1


def test_numbers_may_be_text_as_yaml_leaves_them() -> None:
    assert job(pref_beta="5e-1", lora_rank="16").preference.beta == 0.5


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"stage": "kto", "per_device_train_batch_size": 1}, "per_device_train_batch_size"),
        ({"finetuning_type": "full", "adapter_name_or_path": "a"}, "adapter_name_or_path"),
        ({"finetuning_type": "full", "quantization_bit": 4}, "quantization_bit"),
        ({"stage": "dpo", "pref_loss": "exo_pair"}, "dpo_label_smoothing"),
        ({"stage": "dpo", "pref_loss": "kto_pair"}, "stage: kto"),
        ({"load_best_model_at_end": True}, "eval_strategy"),
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
        ("false", None),
        ("o/checkpoint-5", "o/checkpoint-5"),
    ],
)
def test_resume_may_be_a_flag_or_a_folder(given: object, resume: str | None) -> None:
    assert job(resume_from_checkpoint=given).run.resume == resume
