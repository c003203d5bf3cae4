"""dataset_info.json is read as it stands; what is wrong with the file itself is named with line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.datasets.info_file import check_names, find_dataset_info, is_hub, load_dataset_info, missing_info
from registry.errors import Fault, UsageFault


def put(folder: Path, data: bytes) -> str:
    (folder / "dataset_info.json").write_bytes(data)
    return str(folder)


def test_entries_stand_as_they_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    """One odd entry among them stops nobody who does not name it."""
    info = load_dataset_info(put(tmp_path, '{"b": {"file_name": "ü.json"}, "a": 5, "c": null}'.encode()))
    assert list(info.entries.items()) == [("b", {"file_name": "ü.json"}), ("a", 5), ("c", None)]
    assert (info.folder, info.path) == (str(tmp_path), f"{tmp_path}/dataset_info.json")


def test_a_mark_before_the_file_costs_a_note_and_nothing_else(tmp_path: Path) -> None:
    info = load_dataset_info(put(tmp_path, b'\xef\xbb\xbf{"a": {}}'))
    assert list(info.entries) == ["a"]
    assert any("byte order mark" in note for note in info.notes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": {},\n "b" {}}', r":2:6: is not JSON"),
        (b'{"a": {}}\n\n{"b": "\xe9"}', r":3: is not UTF-8 \(byte 18\)"),
        (b'["a"]', "must hold one object"),
        (b"null", "must hold one object"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "more than 4,300 digits"),
        (b'{"a": {"license": "\\ud800"}}', "lone surrogate"),
        (b'{"\\udcff": {}}', "lone surrogate"),
    ],
)
def test_a_file_that_is_no_table_is_a_fault_at_its_place(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UsageFault, match=r"dataset_info\.json" + message if message[0] == ":" else message):
        find_dataset_info(put(tmp_path, data))


def test_no_file_is_none_and_one_that_cannot_be_read_a_fault(tmp_path: Path) -> None:
    assert find_dataset_info(str(tmp_path)) is None
    assert find_dataset_info(str(tmp_path / "nowhere")) is None
    with pytest.raises(UsageFault, match=r"holds no dataset_info\.json"):
        load_dataset_info(str(tmp_path))
    (tmp_path / "dataset_info.json").mkdir()
    with pytest.raises(Fault, match=r"dataset_info\.json"):
        find_dataset_info(str(tmp_path))


@pytest.mark.parametrize(
    ("folder", "hub"), [("ONLINE", True), ("REMOTE:me/data", True), ("online", False), ("", False)]
)
def test_the_two_words_for_a_hub_are_explained(folder: str, hub: bool) -> None:
    assert is_hub(folder) is hub
    assert ("means data sets of a hub" in missing_info(folder)) is hub


def test_a_near_miss_is_a_mistake_and_a_foreign_name_a_note() -> None:
    problems: list[str] = []
    notes: list[str] = []
    check_names("d:", ["file_name", "file_nmae", "formating", "description", "file_sha1"], ["file_name", "formatting"],
                problems, notes)  # fmt: skip
    assert [problem.split(":")[1].strip() for problem in problems] == ["file_nmae", "formating"]
    assert len(notes) == 1
    assert "description" in notes[0]


def test_a_device_is_no_file(tmp_path: Path) -> None:
    """It would be read for ever."""
    (tmp_path / "dataset_info.json").symlink_to("/dev/zero")
    with pytest.raises(UsageFault, match="is a device or a pipe"):
        find_dataset_info(str(tmp_path))
