"""One entry of dataset_info.json: mistakes are collected, never raised, and name their place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.datasets.entry import entry_to_dataset, split_parts
from registry.datasets.info_file import COLUMNS, KEYS, TAGS, DatasetInfo
from registry.datasets.types import Dataset
from registry.errors import UsageFault
from registry.kinds import STAGES

INFO = DatasetInfo("data/dataset_info.json", "data", {})
SCALARS = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "a.json", "true", "sharegpt", "train"])
TABLES = st.dictionaries(st.sampled_from([*COLUMNS, *TAGS, "promt"]), SCALARS, max_size=4)
ENTRIES = st.dictionaries(st.sampled_from(KEYS), SCALARS | TABLES | st.lists(SCALARS, max_size=2), max_size=6)


def made(entry: object, stage: str | None = "sft") -> tuple[Dataset, list[str]]:
    problems: list[str] = []
    return entry_to_dataset("d", entry, INFO, stage, problems), problems


@settings(max_examples=60)
@given(ENTRIES | SCALARS, st.sampled_from([None, *STAGES]))
def test_no_entry_is_a_crash_and_every_mistake_names_its_place(entry: object, stage: str | None) -> None:
    data, problems = made(entry, stage)
    assert data.name == "d"
    assert all(problem.startswith("data/dataset_info.json: d: ") for problem in problems), problems


@pytest.mark.parametrize(
    ("keys", "files", "hub"),
    [
        ({"file_name": "a.json"}, ("data/a.json",), None),
        ({"file_name": "a.json", "cloud_file_name": "s3://b/a.json"}, ("s3://b/a.json",), None),
        ({"file_name": "a.json", "hf_hub_url": "me/set", "script_url": "x"}, (), "hf:me/set"),
        ({"ms_hub_url": "me/set", "hf_hub_url": "him/set"}, (), "hf:him/set"),
        ({"om_hub_url": "me/set"}, (), "om:me/set"),
        ({"hf_hub_url": "", "file_name": "a.json"}, ("data/a.json",), None),
    ],
)
def test_a_hub_beats_a_cloud_file_and_that_a_local_one(
    keys: dict[str, str], files: tuple[str, ...], hub: str | None
) -> None:
    data, problems = made(keys)
    assert (data.files, data.hub, problems) == (files, hub, [])


def test_a_script_beats_the_file_beside_it_and_is_not_run() -> None:
    data, problems = made({"script_url": "load.py", "file_name": "a.json"})
    assert data.files == ()
    assert "would run the data set's own code" in problems[0]


@pytest.mark.parametrize("stage", [stage for stage, known in STAGES.items() if known.pairs])
def test_pairs_are_refused_where_a_stage_compares_and_there_are_none(stage: str) -> None:
    entry: dict[str, Any] = {"file_name": "a.json", "columns": {"prompt": "q", "response": "a"}}
    assert any(f"stage {stage} compares two answers" in problem for problem in made(entry, stage)[1])
    assert made(entry, None)[1] == [], "no stage, nothing to fit"


def test_a_part_of_a_hub_data_set_is_the_hubs_to_judge() -> None:
    assert made({"hf_hub_url": "me/set", "split": "test[:3]"})[1] == []
    assert made({"hf_hub_url": "me/set", "split": "train[a:b]"})[1] == []
    assert made({"file_name": "a.json", "split": "train[a:b]"})[1] != []


@pytest.mark.parametrize(
    ("value", "count"), [(1, 1), (None, None), (0, None), (10**30, None), (True, None), (1.5, None), ("3", None)]
)
def test_a_count_of_samples_is_a_whole_number_above_zero(value: object, count: int | None) -> None:
    data, problems = made({"file_name": "a.json", "num_samples": value})
    assert data.num_samples == count
    assert bool(problems) == (count is None and value is not None)


@pytest.mark.parametrize(
    ("percent", "records", "stop"), [(50, 3, 2), (50, 5, 2), (33, 10, 3), (1, 10, 0), (-10, 10, 9)]
)
def test_a_share_goes_to_the_nearest_record_and_ties_to_the_even_one(percent: int, records: int, stop: int) -> None:
    assert split_parts(f"train[:{percent}%]", records) == [(0, stop)]


def test_a_number_of_any_length_is_a_place_or_a_fault_of_the_user() -> None:
    with pytest.raises(UsageFault, match="local files have only"):
        split_parts("train[:1e3]", 10)
    for digits in ("9" * 400, "9" * 5_000):  # Python reads no number of more than 4,300
        assert split_parts(f"train[:{digits}]", 10) == [(0, 10)]
        assert split_parts(f"train[-{digits}%:]", 10) == [(0, 10)]


@pytest.mark.parametrize("key", ["subset", "folder", "license", "hf_hub_url"])
@pytest.mark.parametrize("value", [5, ["x"], {"a": "b"}])
def test_a_name_that_is_no_text_is_a_mistake(key: str, value: object) -> None:
    _, problems = made({"file_name": "a.json", key: value})
    assert any(f"d: {key} must be a text" in problem for problem in problems)


def test_an_empty_column_counts_as_left_out() -> None:
    """As in LLaMA-Factory, where an empty name stands for no column; no record has a key without a name."""
    columns: dict[str, Any] = {"prompt": "q", "response": "a", "query": "", "system": ""}
    data, problems = made({"file_name": "a.json", "columns": columns})
    assert (data.fields.query, data.fields.system, problems) == (None, None, [])
    assert any("columns query is empty" in note for note in data.notes)
    _, problems = made({"file_name": "a.json", "columns": columns | {"response": ""}})
    assert any("columns names no response" in problem for problem in problems)
