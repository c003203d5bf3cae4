"""The map of a data set is a value: equal maps are one key of a cache, and hold every name of dataset_info.json."""

from __future__ import annotations

import dataclasses

import pytest

from registry.datasets.info_file import COLUMNS, OPENAI_TAGS, TAGS
from registry.datasets.types import Dataset, Fields


def test_equal_maps_are_one_key_of_a_cache() -> None:
    first, second = Fields(prompt="q", **OPENAI_TAGS), Fields(prompt="q", **OPENAI_TAGS)
    assert {first: 1}[second] == 1
    assert first != dataclasses.replace(first, query="x")


def test_a_map_has_a_place_for_every_column_and_tag_of_the_file_and_no_other() -> None:
    assert set(vars(Fields())) == {*COLUMNS, *TAGS}
    with pytest.raises(TypeError, match="promt"):
        Fields(promt="q")  # type: ignore[call-arg]


def test_a_resolved_data_set_cannot_change_under_way() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Dataset("d", ("a.json",)).files = ()  # type: ignore[misc]
