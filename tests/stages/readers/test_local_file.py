"""A local file is read once and hashed on the way; what is no regular file, or no longer what it was, is refused."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import MachineFault, UsageFault
from stages.readers.local_file import Hasher, Source, kind_of, open_regular, read_range


@settings(max_examples=20)
@given(st.lists(st.integers(0, 3) | st.sampled_from([700_000, 1 << 20]), max_size=6))
def test_the_digest_is_that_of_the_whole_whatever_the_blocks(sizes: list[int]) -> None:
    """With and without the thread, which long streams get."""
    hasher = Hasher()
    blocks = [bytes([at]) * size for at, size in enumerate(sizes)]
    for block in blocks:
        hasher.update(block)
    assert hasher.hexdigest() == hashlib.sha256(b"".join(blocks)).hexdigest()
    assert not [thread for thread in threading.enumerate() if thread.name == "sha256"]


@pytest.mark.parametrize("taken", [0, 1, 100])
def test_a_source_that_is_left_early_is_hashed_to_its_end(tmp_path: Path, taken: int) -> None:
    data = bytes(range(256)) * 10
    (tmp_path / "a.bin").write_bytes(data)
    with Source(str(tmp_path / "a.bin"), 100) as source:
        assert source.head(10) == data[:10]
        blocks = source.blocks()
        parts = [part for part, _ in zip(blocks, range(taken), strict=False)]
        assert data.startswith(b"".join(parts))
        assert source.total() == len(data)
        assert source.finish() == (hashlib.sha256(data).hexdigest(), len(data))


def test_ranges_are_read_to_the_byte_and_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789")
    assert read_range(str(path), 2, 5) == b"234"
    assert read_range(str(path), 4, 4) == b""
    with pytest.raises(MachineFault, match="changed while it was being read") as caught:
        read_range(str(path), 5, 11)
    assert "start again" in caught.value.hint


def test_a_named_pipe_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageFault, match="is a named pipe, not a file"):
        open_regular(str(tmp_path / "pipe"))
    with pytest.raises(UsageFault, match="is a folder, not a file"):
        open_regular(str(tmp_path))
    with pytest.raises(UsageFault, match="no such file"):
        open_regular(str(tmp_path / "absent"))


def test_a_refused_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(UsageFault):
            open_regular(str(tmp_path))
        with pytest.raises(MachineFault):
            read_range(__file__, 0, 1 << 20)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_with_control_characters_is_shown_escaped(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match=r"a\\x1b\[31m: no such file"):
        open_regular(str(tmp_path / "a\x1b[31m"))


@pytest.mark.parametrize(
    ("mode", "words"), [(stat.S_IFSOCK, "a socket"), (stat.S_IFBLK | 0o600, "a device"), (0, "something else")]
)
def test_what_is_no_file_is_named_in_words(mode: int, words: str) -> None:
    assert kind_of(mode) == words
