"""A configuration as its readers see it: typed values, the method they add up to, no secrets in what is published."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pipeline.config import load_config, worker_count
from tests.support.configs import load, write


def test_secrets_do_not_reach_the_manifest(tmp_path: Path) -> None:
    config = load(tmp_path, "hub_token: hf_secret\nseed: 4\n")
    assert config.get("hub_token") == "hf_secret"
    assert "hf_secret" not in str(config.public())
    assert config.public()["seed"] == 4


@pytest.mark.parametrize(
    ("text", "method", "kind"),
    [
        ("stage: pt", "pt", "pt"),
        ("stage: sft", "sft", "lm"),
        ("stage: rm", "rm", "pref"),
        ("stage: dpo", "dpo", "pref"),
        ("stage: dpo\npref_loss: orpo", "orpo", "pref"),
        ("stage: simpo", "simpo", "pref"),
        ("stage: kto", "kto", "unpaired"),
        ("stage: grpo", "grpo", "prompt"),
        ("do_predict: true", "predict", "prompt"),
        ("do_predict: true\ndo_train: true", "sft", "lm"),
    ],
)
def test_stage_and_loss_decide_method_and_kind(tmp_path: Path, text: str, method: str, kind: str) -> None:
    config = load(tmp_path, text + "\n")
    assert (config.method, config.kind) == (method, kind)


def test_commands_say_what_the_run_does(tmp_path: Path) -> None:
    text = write(tmp_path, "model_name_or_path: m\ndataset: a\ndo_train: true\n")
    assert load_config(text, [], for_command="predict").method == "predict"
    plain = write(tmp_path, "model_name_or_path: m\ndataset: a\n")
    assert load_config(plain, [], for_command="train").train.do_train is True


def test_workers_follow_the_command_and_never_exceed_the_cores_otherwise(tmp_path: Path) -> None:
    assert worker_count(load(tmp_path, "workers: 64\n")) == 64
    assert worker_count(load(tmp_path, "preprocessing_num_workers: 1\n")) == 1
    assert worker_count(load(tmp_path, "preprocessing_num_workers: 9999\n")) == worker_count(load_config(None, []))


def test_a_configuration_can_be_sent_to_a_worker() -> None:
    config = load_config(None, ["seed=3"])
    assert pickle.loads(pickle.dumps(config)) == config


def test_the_command_line_is_kept_as_words_without_secrets() -> None:
    """So that an output can say how it is made again."""
    config = load_config(None, ["packing=true", "seed=3", "hub_token=hf_secret"])
    assert config.said == ("packing=true", "seed=3")


def test_a_key_that_is_not_in_the_table_is_a_bug_of_ours() -> None:
    with pytest.raises(KeyError):
        load_config(None, []).get("xyzzy")
    with pytest.raises(AssertionError, match="seed"):
        load_config(None, ["seed=3"]).text("seed")
