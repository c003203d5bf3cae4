"""What lies in an output is found without opening anything, and strangers are told from the user's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.output.tree import entries, not_folders, strangers
from registry.errors import UsageFault


def test_links_and_pipes_are_entries_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path)
    assert sorted(entries(tmp_path)) == ["link", "pipe", "train", "train/a"]
    assert sorted(not_folders(entries(tmp_path))) == ["link", "pipe", "train/a"]


def test_the_cache_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "a").write_bytes(b"x")
    (tmp_path / "train" / ".cache").mkdir(parents=True)
    (tmp_path / "train" / ".cache" / "a").write_bytes(b"x")
    assert list(not_folders(entries(tmp_path))) == ["train/.cache/a"]


def test_no_folder_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageFault):
        entries(tmp_path / "none")


def test_strangers_in_preps_places_are_told_from_the_users() -> None:
    names = ["manifest.json", "train/a", "train/b", "notes/1", "notes/2", "eval/c", "train/cache-0a1b.arrow",
             "lineage/cache-0a1b.arrow"]  # fmt: skip
    ours, others = strangers(names, ["train/a"], ["train", "eval"])
    assert ours == ["eval/c", "lineage/cache-0a1b.arrow", "train/b"]
    assert others == ["notes", "train/cache-0a1b.arrow"]
