"""A file is read; what stands in the place of one is named and never opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from registry.errors import DataFault
from stages.core.plain_file import kind_of, read_plain, require_plain


def test_a_file_is_read_and_so_is_one_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_plain(tmp_path / "a") == read_plain(tmp_path / "b") == b"x"


@pytest.mark.parametrize("kind", ["a FIFO", "a folder", "a device", "a socket"])
def test_what_is_no_file_is_named_and_not_opened(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    path = Path("x")
    if kind == "a FIFO":
        os.mkfifo(path)  # opening it would wait for a writer for ever
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")  # reading it would never end
    else:
        socket.socket(socket.AF_UNIX).bind("x")
    with pytest.raises(DataFault, match=f"x: is {kind}, not a file"):
        read_plain(path)


def test_nothing_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        require_plain(tmp_path / "none")


def test_a_link_is_told_by_its_own_mode(tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to(tmp_path)
    assert kind_of(os.lstat(tmp_path / "b").st_mode) == "a symbolic link"
    assert kind_of(os.lstat(__file__).st_mode) == ""
