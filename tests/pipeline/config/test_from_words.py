"""A command line names one configuration file, or none, and settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.from_words import config_from_words, is_json_config
from registry.errors import UsageFault

SETTINGS = "model_name_or_path: m\ndataset: a.jsonl\ncutoff_len: 8\n"


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "sft.yaml"
    path.write_text(SETTINGS, encoding="utf-8")
    return str(path)


def test_options_win_over_settings_and_settings_over_the_file(file: str) -> None:
    config = config_from_words([file, "cutoff_len=16", "seed=1"], "pack", {"seed": 2, "workers": None})
    assert (config.whole("cutoff_len"), config.whole("seed"), config.whole("workers")) == (16, 2, None)
    assert config.path == file


def test_settings_alone_are_a_configuration() -> None:
    config = config_from_words(["model_name_or_path=m", "--dataset", "a.jsonl"], "pack", {})
    assert (config.path, config.items("dataset")) == (None, ["a.jsonl"])


def test_a_second_file_is_refused(file: str) -> None:
    with pytest.raises(UsageFault, match="pack takes one configuration file"):
        config_from_words([file, "more.yaml"], "pack", {})


def test_a_data_file_is_answered_with_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(UsageFault, match="is not a configuration file") as caught:
        config_from_words([str(tmp_path / "a.jsonl")], "pack", {})
    assert "prep pack dataset=" in caught.value.hint


def test_a_mistyped_option_is_guessed_among_the_commands_own(file: str) -> None:
    with pytest.raises(UsageFault, match='did you mean "--no-cache"'):
        config_from_words([file, "--no-cach"], "pack", {}, ["--no-cache"])


@pytest.mark.parametrize(
    ("name", "text", "is_config"),
    [
        ("a.json", '{"stage": "sft", "dataset": "x"}', True),
        ("a.json", '{"instruction": "x", "output": "y"}', False),
        ("a.json", '[{"stage": "sft"}]', False),
        ("a.json", "{", False),
        ("a.jsonl", '{"stage": "sft", "dataset": "x"}', False),
    ],
)
def test_a_json_file_is_a_configuration_by_its_keys(name: str, text: str, is_config: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert is_json_config(str(tmp_path / name)) is is_config
