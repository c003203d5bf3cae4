"""The command in a data card makes the rows again: what they depend on is in it, and nothing of this machine."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.reports.rebuild_command import rebuild_command


def manifest(**options: object) -> dict[str, Any]:
    return {
        "recipe": {"dataset": ["a", "b c"], "dataset_dir": "data", "format": "auto"},
        "options": {"stage": "sft", "template": "qwen3", "cutoff_len": 2048, **options},
        "run": {"model_name_or_path": "/home/me/model"},
    }


def test_the_command_gives_the_settings_back() -> None:
    made = manifest(packing=True, cutoff_len=512, overlong="split", rules={"text.special-token": "error"})
    words = shlex.split(rebuild_command(made))
    assert words[:2] == ["prep", "pack"] and words[-2:] == ["-o", "OUT"]
    config = load_config(None, words[2:-2], for_command="pack")
    assert config.data.dataset == ("a", "b c")
    assert (config.encode.cutoff_len, config.encode.overlong, config.pack.packing) == (512, "split", True)
    assert config.data.rules == {"text.special-token": "error"}


def test_a_default_is_named_only_where_people_look_for_it() -> None:
    """Stage, template and cutoff_len always stand there; what has its default value otherwise does not."""
    text = rebuild_command(manifest(overlong="truncate", mask_history=False))
    assert "stage=sft" in text and "cutoff_len=2048" in text
    assert "overlong" not in text and "mask_history" not in text and "format" not in text


def test_a_portable_command_names_no_folder_of_this_machine() -> None:
    assert "model_name_or_path=/home/me/model" in rebuild_command(manifest())
    assert "model_name_or_path=DIR" in rebuild_command(manifest(), portable=True)
    assert "/home/me" not in rebuild_command(manifest(), portable=True)


def test_a_manifest_without_options_cannot_be_rebuilt() -> None:
    with pytest.raises(KeyError):
        rebuild_command({"recipe": {}})
