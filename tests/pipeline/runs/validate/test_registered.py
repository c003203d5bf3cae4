"""A file or folder that a dataset_info.json knows gets the commands that check it with its map."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.config import load_config
from pipeline.runs.validate.registered import registered

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}
KTO = {"messages": "messages", "kto_tag": "label"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "k"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(GOOD) + "\n")
    info = {
        "odd": 1,
        "first": {"file_name": "a.jsonl"},
        "second one": {"file_name": "b.jsonl"},
        "labels": {"file_name": "k.jsonl", "formatting": "openai", "columns": KTO},
        "gone": {"file_name": "gone.jsonl"},
        "far": {"hf_hub_url": "owner/name"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    return tmp_path


def said(place: Path, *words: str) -> list[str]:
    return registered(str(place), load_config(None, ["dataset=a.jsonl", *words], for_command="validate"))


def test_of_a_file_the_name_and_the_stage_of_its_set_are_said(folder: Path) -> None:
    head, command = said(folder / "k.jsonl")
    assert head == f'note: {folder / "dataset_info.json"} names this file "labels"; to check it with its map:'
    assert command == f"  prep validate dataset=labels dataset_dir={folder} stage=kto"


def test_of_a_folder_there_is_a_command_a_stage_with_the_sets_that_are_there(folder: Path) -> None:
    assert said(folder)[1:] == [
        f"  prep validate 'dataset=first,second one' dataset_dir={folder}",
        f"  prep validate dataset=labels dataset_dir={folder} stage=kto",
    ]


def test_a_stage_that_was_given_stays_where_it_fits(folder: Path) -> None:
    columns = {"prompt": "instruction", "chosen": "input", "rejected": "output"}
    pairs = {"file_name": "a.jsonl", "ranking": True, "columns": columns}
    (folder / "dataset_info.json").write_text(json.dumps({"pairs": pairs}))
    assert said(folder, "stage=rm")[1].endswith(" stage=rm")
    assert said(folder, "stage=kto")[1].endswith(" stage=dpo")


def test_a_file_that_is_not_named_and_a_broken_table_say_nothing(folder: Path) -> None:
    (folder / "c.jsonl").write_text("{}\n")
    assert said(folder / "c.jsonl") == []
    (folder / "dataset_info.json").write_text("{broken")
    assert said(folder) == said(folder / "a.jsonl") == []


def test_the_command_stands_on_a_line_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(folder / "a.jsonl")]) == 0
    assert f"\n  prep validate dataset=first dataset_dir={folder}\n" in capsys.readouterr().out
