"""Which files of a folder are trained on: those of the train split, as on the hub; the others are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import UsageFault
from stages.readers.discover import discover
from stages.readers.split_files import splits_of


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def taken(folder: Path, split: str = "train") -> tuple[list[str], list[str]]:
    notes: list[str] = []
    found = discover(str(folder), notes=notes, split=split)
    return [str(Path(path).relative_to(folder)) for path in found], notes


LAYOUTS = [
    (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"], ["data/test-00000-of-00001.parquet"]),
    (["train.jsonl"], ["test.jsonl", "validation.jsonl"]),
    (["train.jsonl"], ["dev.jsonl"]),
    (["my-training_1.jsonl", "my-training_2.jsonl"], ["my-val.jsonl", "readers.jsonl"]),
    (["train/a.jsonl", "train/more/b.jsonl"], ["test/a.jsonl"]),
    (["de/train/a.jsonl", "en/train/a.jsonl"], ["de/test/a.jsonl"]),
    (["data/train_sft-00000-of-00001.parquet"], ["data/test_sft-00000-of-00001.parquet"]),
]


@pytest.mark.parametrize(("train", "others"), LAYOUTS)
def test_only_the_train_split_of_a_folder_is_read_and_the_rest_named(
    train: list[str], others: list[str], tmp_path: Path
) -> None:
    found, notes = taken(make(tmp_path, *train, *others))
    assert found == sorted(train)
    (note,) = notes
    assert all(name in note for name in others)
    assert '"split": "' in note or "of no split" in note


@pytest.mark.parametrize(("train", "others"), LAYOUTS)
def test_every_split_can_be_asked_for_and_they_share_no_file(
    train: list[str], others: list[str], tmp_path: Path
) -> None:
    folder = make(tmp_path, *train, *others)
    name = "test_sft" if "test_sft" in others[0] else "test" if "test" in others[0] else "validation"
    found, _ = taken(folder, name)
    assert found and set(found) <= set(others)


@pytest.mark.parametrize("names", [["a.jsonl", "b.jsonl"], ["latest.jsonl", "contest.jsonl"], ["train_a.jsonl"]])
def test_a_folder_without_held_out_files_is_read_whole(names: list[str], tmp_path: Path) -> None:
    assert taken(make(tmp_path, *names)) == (sorted(names), [])


def test_a_test_file_beside_files_of_no_split_is_told(tmp_path: Path) -> None:
    found, notes = taken(make(tmp_path, "a.jsonl", "test.jsonl"))
    assert found == ["a.jsonl", "test.jsonl"]
    assert "test.jsonl too" in notes[0]


def test_several_train_splits_are_refused_with_the_way_to_choose(tmp_path: Path) -> None:
    make(tmp_path, *(f"data/{name}-00000-of-00001.parquet" for name in ("train_gen", "train_sft", "test_sft")))
    with pytest.raises(UsageFault, match="test_sft, train_gen, train_sft") as caught:
        taken(tmp_path)
    assert '"split": "train_gen"' in caught.value.hint
    assert taken(tmp_path, "train_sft+test_sft")[0] == [
        "data/train_sft-00000-of-00001.parquet", "data/test_sft-00000-of-00001.parquet",
    ]  # fmt: skip


def test_a_split_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="has no split test \\(train\\)"):
        taken(make(tmp_path, "train.jsonl"), "test")
    with pytest.raises(UsageFault, match="split test: local files have only `train`"):
        discover(str(tmp_path / "train.jsonl"), split="test")


def test_names_above_the_folder_tell_nothing() -> None:
    root = "s3://train-bucket/test"
    assert splits_of([f"{root}/a.jsonl", f"{root}/b.jsonl"], root) == {"": [f"{root}/a.jsonl", f"{root}/b.jsonl"]}
    found = splits_of([f"{root}/train/a.jsonl", f"{root}/val/a.jsonl"], root)
    assert {name: len(files) for name, files in found.items()} == {"train": 1, "validation": 1}
