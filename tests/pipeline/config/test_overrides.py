"""Every way of writing a setting on the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.overrides import parse_arguments, parse_overrides
from registry.errors import UsageFault


@pytest.mark.parametrize(
    "words",
    [
        ["cutoff_len=512", "packing=true"],
        ["--cutoff_len", "512", "--packing", "true"],
        ["--cutoff_len=512", "--packing=true"],
        ["--cutoff-len", "512", "packing=true"],
        ["cutoff-len=512", "packing=true"],
        ["cutoff_len=9", "--packing", "true", "cutoff_len=512"],
    ],
)
def test_all_forms_mean_the_same(words: list[str]) -> None:
    assert parse_overrides(words) == {"cutoff_len": "512", "packing": "true"}


def test_a_switch_alone_is_on_and_no_turns_it_off() -> None:
    assert parse_overrides(["--do_train", "--bf16", "--no-double_quantization", "--no_cache"]) == {
        "do_train": True,
        "bf16": True,
        "double_quantization": False,
        "cache": False,
    }


def test_a_switch_does_not_swallow_the_file_behind_it() -> None:
    found = parse_arguments(["--packing", "run.yaml", "--max_steps", "-1", "seed=3"])
    assert found.paths == ("run.yaml",)
    assert found.values == {"packing": True, "max_steps": "-1", "seed": "3"}


def test_a_list_takes_several_words_but_not_the_file() -> None:
    found = parse_arguments(["--report_to", "wandb", "tensorboard", "--dataset", "a,b", "run.yaml"])
    assert found.values == {"report_to": ["wandb", "tensorboard"], "dataset": "a,b"}
    assert found.paths == ("run.yaml",)


def test_a_switch_or_text_key_may_stand_alone() -> None:
    assert parse_overrides(["--resume_from_checkpoint", "--seed", "1"]) == {"resume_from_checkpoint": True, "seed": "1"}
    assert parse_overrides(["--resume_from_checkpoint", "out/checkpoint-5"]) == {
        "resume_from_checkpoint": "out/checkpoint-5"
    }


def test_a_table_is_set_entry_by_entry_and_null_is_nothing() -> None:
    assert parse_overrides(["rules.text.special-token=off", "--rules.role.unknown", "error", "template=null"]) == {
        "rules": {"text.special-token": "off", "role.unknown": "error"},
        "template": None,
    }


def test_a_value_may_hold_equal_signs_and_an_old_switch_is_a_switch() -> None:
    assert parse_overrides(["optim_args=a=1,b=2", "--sft_packing"]) == {"optim_args": "a=1,b=2", "sft_packing": True}


def test_paths_with_an_equal_sign_stay_paths() -> None:
    assert parse_arguments(["data/x=1.jsonl", "a.b=c.jsonl"]).paths == ("data/x=1.jsonl", "a.b=c.jsonl")


def test_an_unknown_key_is_passed_on_so_that_it_is_reported_with_the_others() -> None:
    assert parse_overrides(["--cutof_len", "5", "--packin", "seed=1"]) == {
        "cutof_len": "5",
        "packin": True,
        "seed": "1",
    }


def test_what_is_no_setting_is_refused() -> None:
    with pytest.raises(UsageFault, match="words: is neither"):
        parse_overrides(["seed=1", "words"])
    with pytest.raises(UsageFault, match="--cutoff_len: needs a value"):
        parse_overrides(["--cutoff_len"])
    with pytest.raises(UsageFault, match="--cutoff_len: needs a value"):
        parse_overrides(["--cutoff_len", "--packing"])
    with pytest.raises(UsageFault, match="-x: there is no such option"):
        parse_overrides(["-x"])


@given(st.lists(st.text(max_size=12), max_size=8))
def test_any_command_line_ends_in_values_or_in_a_clear_refusal(words: list[str]) -> None:
    try:
        found = parse_arguments(words)
    except UsageFault:
        return
    assert all(isinstance(name, str) for name in found.values)
    assert len(found.paths) + len(found.values) <= len(words)
