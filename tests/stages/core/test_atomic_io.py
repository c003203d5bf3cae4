"""A file is either absent, the old one, or the whole new one, and every failure names its path and what to do."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from registry.errors import MachineFault
from stages.core import atomic_io
from stages.core.atomic_io import TEMPORARY, create, make_folder, remove_tree, sweep, sync_folder, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Failing:
    """The system's operations, of which one raises an error."""

    def __init__(self, name: str, number: int) -> None:
        self._system = atomic_io.operations
        self._name = name
        self._number = number

    def __getattr__(self, name: str) -> object:
        if name != self._name:
            return getattr(self._system, name)

        def fail(*arguments: object) -> None:
            if name == "close":
                os.close(arguments[0])  # type: ignore[arg-type]
            raise OSError(self._number, os.strerror(self._number))

        return fail


def test_a_file_appears_whole_with_its_digest_and_nothing_else_stays(tmp_path: Path) -> None:
    with create(tmp_path / "a.bin") as sink:
        sink.write(b"one")
        sink.write(memoryview(b"two"))
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"onetwo"
    assert (sink.sha256, sink.size_bytes) == (hashlib.sha256(b"onetwo").hexdigest(), 6)
    assert names(tmp_path) == ["a.bin"]


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", b"old")
    with pytest.raises(TypeError), create(tmp_path / "a.txt") as sink:
        sink.write("no bytes")  # type: ignore[arg-type]
    assert (tmp_path / "a.txt").read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["open", "write", "fsync", "close", "rename"])
@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "the file system is read-only")]
)
def test_a_call_that_fails_is_a_fault_with_path_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, reason: str
) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    monkeypatch.setattr(atomic_io, "operations", Failing(name, number))
    with pytest.raises(MachineFault) as caught:
        write_whole(tmp_path / "a.txt", b"new")
    assert caught.value.problems == (f"{tmp_path}/a.txt: {reason}",)
    assert caught.value.hint
    assert (tmp_path / "a.txt").read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = atomic_io.operations.write
    monkeypatch.setattr(atomic_io.operations, "write", lambda fd, data: system(fd, data[:3]), raising=False)
    write_whole(tmp_path / "a.txt", b"0123456789")
    assert (tmp_path / "a.txt").read_bytes() == b"0123456789"


def test_a_link_in_the_place_of_the_file_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "a.txt").symlink_to(tmp_path / "theirs")
    write_whole(tmp_path / "a.txt", b"ours")
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert not (tmp_path / "a.txt").is_symlink()


def test_a_folder_that_cannot_be_synced_by_its_file_system_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_io, "operations", Failing("fsync", errno.EINVAL))
    sync_folder(str(tmp_path))
    monkeypatch.setattr(atomic_io, "operations", Failing("fsync", errno.EIO))
    with pytest.raises(MachineFault, match="input/output error"):
        sync_folder(str(tmp_path))


def test_a_folder_is_made_with_its_parents_and_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineFault, match=f"{tmp_path}/file"):
        make_folder(tmp_path / "file")


def test_removing_a_tree_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x")
    (tmp_path / "gone" / "deep").mkdir(parents=True)
    (tmp_path / "gone" / "deep" / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "gone")
    remove_tree(tmp_path / "gone")
    assert names(tmp_path) == ["kept"]
    assert names(tmp_path / "kept") == ["file"]


def test_only_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in (f"a.arrow.1f{TEMPORARY}", f"deep/b{TEMPORARY}", "deep/mine.tmp", f"deep/{TEMPORARY}.txt"):
        (tmp_path / name).write_bytes(b"")
    assert sweep(tmp_path) == 2
    assert names(tmp_path) == ["deep"]
    assert names(tmp_path / "deep") == [f"{TEMPORARY}.txt", "mine.tmp"]


def test_two_paths_change_places_in_one_step(tmp_path: Path) -> None:
    write_whole(tmp_path / "one", b"1")
    write_whole(tmp_path / "other", b"2")
    try:
        atomic_io.operations.exchange(str(tmp_path / "one"), str(tmp_path / "other"))
    except OSError as error:
        pytest.skip(f"this system has no exchange: {error}")
    assert ((tmp_path / "one").read_bytes(), (tmp_path / "other").read_bytes()) == (b"2", b"1")
    with pytest.raises(FileNotFoundError):
        atomic_io.operations.exchange(str(tmp_path / "one"), str(tmp_path / "absent"))
