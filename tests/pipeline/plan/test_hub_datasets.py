"""Data sets of the hub come through the `datasets` library, and say what is missing when they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.installation import install_command
from pipeline.plan.hub_datasets import whole_and_part
from pipeline.runs.pack.run import prepare
from registry.datasets.types import Dataset
from registry.errors import MachineFault, UsageFault

TINY = Path(__file__).parents[3] / "fixtures" / "tiny"


def pack(folder: Path, out: Path) -> Any:
    words = ["dataset=mine", f"dataset_dir={folder}", f"model_name_or_path={TINY}", "template=default"]
    return prepare(load_config(None, words, for_command="pack"), out, lambda line: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    info = {"mine": {"hf_hub_url": "me/data", "subset": "en", "split": "test[2:5]", "folder": "parts"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    return tmp_path


def test_a_hub_data_set_is_packed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is called with subset, split and folder; its cached rows are packed, and only the part requested."""
    datasets = pytest.importorskip("datasets")
    rows = "".join(json.dumps({"instruction": f"q{n}", "input": "", "output": f"a{n}"}) + "\n" for n in range(8))
    (tmp_path / "rows.jsonl").write_text(rows)
    requested: list[Any] = []
    real = datasets.load_dataset

    def load_dataset(name: str, subset: str | None, *, split: str, data_dir: str | None) -> Any:
        requested.append((name, subset, split, data_dir))
        return real("json", data_files=str(tmp_path / "rows.jsonl"), split="train", cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    ledger = pack(folder, tmp_path / "out").manifest["ledger"]
    assert requested == [("me/data", "en", "test", "parts")]
    assert (ledger["read"], ledger["examples"], ledger["not_sampled"]) == (8, 3, 5)


def test_parts_of_one_split_of_the_hub_are_joined_and_of_two_refused() -> None:
    def entry(split: str) -> Dataset:
        return Dataset("mine", (), hub="hf:me/data", split=split)

    assert whole_and_part(entry("test[:2] + test[-1:]")) == ("test", "train[:2]+train[-1:]")
    assert whole_and_part(entry("train+test")) == ("train+test", "train")
    with pytest.raises(UsageFault, match="different splits"):
        whole_and_part(entry("train[:2]+test"))


def test_an_unreachable_hub_is_the_machines(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def load_dataset(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no network here")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(MachineFault, match="no network here"):
        pack(folder, tmp_path / "out")


def test_without_the_library_it_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MachineFault) as caught:
        pack(folder, tmp_path / "out")
    assert install_command("train") in caught.value.hint
