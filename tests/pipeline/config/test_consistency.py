"""Settings that contradict each other, or that a command cannot do without, are named with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.config.consistency import contradictions
from tests.support.configs import load, problems, write


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("stage: dpo\ntrain_on_prompt: true", "train_on_prompt"),
        ("stage: kto\nmask_history: true", "mask_history"),
        ("stage: rm\nneat_packing: true", "neat_packing"),
        ("stage: dpo\npredict_with_generate: true", "predict_with_generate"),
        ("train_on_prompt: true\nmask_history: true", "mask_history"),
        ("dataset: a\neval_dataset: b\nval_size: 0.1", "val_size"),
        ("dataset: a\nval_size: 1", "val_size"),
        ("dataset: a\nval_size: 2.5", "val_size"),
        ("dataset: a,b\ninterleave_probs: 0.5,0.5", "interleave_probs"),
        ("dataset: a,b\nmix_strategy: interleave_under\ninterleave_probs: 0.5,0.3,0.2", "interleave_probs"),
        ("dataset: a,b\nmix_strategy: interleave_under\ninterleave_probs: 0.5,0.6", "interleave_probs"),
        ("finetuning_type: full\nadapter_name_or_path: a", "adapter_name_or_path"),
        ("finetuning_type: full\nuse_dora: true", "use_dora"),
        ("finetuning_type: full\nquantization_bit: 4", "quantization_bit"),
        ("quantization_bit: 4\nresize_vocab: true", "resize_vocab"),
        ("use_galore: true", "use_galore"),
        ("finetuning_type: full\nuse_apollo: true\ndeepspeed: z2", "use_apollo"),
        ("stage: dpo\npref_loss: hinge\ndpo_label_smoothing: 0.1", "dpo_label_smoothing"),
        ("stage: dpo\npissa_init: true", "pissa_init"),
        ("stage: dpo\ninit_lora_weights: pissa_niter_4", "init_lora_weights"),
        ("stage: kto\ninit_lora_weights: olora", "init_lora_weights"),
        ("stage: orpo\npref_loss: ipo", "pref_loss"),
        ("bf16: true\nfp16: true", "bf16, fp16"),
        ("template_date: yesterday", "template_date"),
        ("rules: {no.such-rule: error}", "rules"),
    ],
)
def test_contradictions_are_refused_for_every_command(tmp_path: Path, text: str, key: str) -> None:
    (problem,) = problems(tmp_path, text + "\n")
    assert f"{key}: " in f"{problem} "


@pytest.mark.parametrize("stage", ["ppo", "grpo", "rloo"])
def test_prompt_stages_can_be_packed_but_not_trained(tmp_path: Path, stage: str) -> None:
    text = f"stage: {stage}\nmodel_name_or_path: m\ndataset: a\n"
    assert load_config(write(tmp_path, text), [], for_command="pack").kind == "prompt"
    (problem,) = problems(tmp_path, text, command="train")
    assert problem.startswith(f"run.yaml:1 stage: {stage} ")
    assert "prep pack" in problem


@pytest.mark.parametrize(
    ("command", "text", "key"),
    [
        ("pack", "dataset: a", "model_name_or_path"),
        ("pack", "model_name_or_path: m", "dataset"),
        ("train", "model_name_or_path: m", "dataset"),
        ("train", "model_name_or_path: m\ndataset: a\neval_strategy: steps", "eval_strategy"),
        ("train", "model_name_or_path: m\ndataset: a\ndo_eval: true", "do_eval"),
        ("train", "model_name_or_path: m\ndataset: a\nload_best_model_at_end: true", "load_best_model_at_end"),
        ("train", "model_name_or_path: m\ndataset: a\nstage: dpo\npref_loss: kto_pair", "pref_loss"),
        ("predict", "model_name_or_path: m\ndataset: a\ninfer_backend: sglang", "infer_backend"),
        ("export", "model_name_or_path: m", "export_dir"),
    ],
)
def test_each_command_says_what_it_lacks(tmp_path: Path, command: str, text: str, key: str) -> None:
    assert any(f"{key}:" in problem for problem in problems(tmp_path, text + "\n", command=command))
    load(tmp_path, text + "\n")  # and nothing is wrong with it otherwise


def test_a_validation_split_that_nothing_uses_is_noted(tmp_path: Path) -> None:
    (note,) = load(tmp_path, "dataset: a\nval_size: 0.1\neval_steps: 500\n").notes
    assert note.startswith("val_size: splits off 0.1 of the records, and eval_strategy is no")
    assert load(tmp_path, "dataset: a\nval_size: 0.1\neval_strategy: steps\n").notes == ()


def test_prediction_needs_no_evaluation_set(tmp_path: Path) -> None:
    text = "model_name_or_path: m\ndataset: a\ndo_predict: true\n"
    config = load_config(write(tmp_path, text), [], for_command="train")
    assert config.method == "predict"
    assert [note.split(":")[0] for note in config.notes] == ["do_predict", "do_predict"]


def test_every_contradiction_names_its_key_first() -> None:
    """So that the place where the key was written can stand before it."""
    values = dict(load_config(None, []).values)
    values |= {"stage": "dpo", "neat_packing": True, "bf16": True, "fp16": True, "template_date": "soon"}
    found = list(contradictions(values, frozenset(), "pack"))
    assert len(found) == 5
    assert all(set(line.partition(":")[0].split(", ")) <= values.keys() for line in found)


def test_the_default_settings_contradict_nothing() -> None:
    assert list(contradictions(load_config(None, []).values, frozenset(), None)) == []
