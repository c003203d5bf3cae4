"""A cache file is used only when every byte that matters is what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.tokenize.token_cache import TokenCache, write_token_cache

META = {"read": 7, "counts": [["role.unknown", "error", 3]]}
SECTIONS = {
    "ids": np.arange(120, dtype=np.int32),
    "trained": np.array([1, 0, 1], dtype=np.uint8),
    "empty": np.empty(0, dtype=np.int64),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.cache"
    write_token_cache(str(path), META, SECTIONS)
    return path


def is_usable(path: Path) -> bool:
    """As the engine decides it."""
    try:
        with TokenCache(str(path)) as cache:
            return cache.intact()
    except (ValueError, KeyError):
        return False


def content(path: Path) -> tuple[object, list[bytes]]:
    with TokenCache(str(path)) as cache:
        return cache.meta, [cache.section(name).tobytes() for name in cache.names()]


def test_what_was_written_is_read(path: Path) -> None:
    assert content(path) == (META, [array.tobytes() for array in SECTIONS.values()])
    with TokenCache(str(path)) as cache:
        assert cache.intact()
        assert cache.section("ids", 10, 13).tolist() == [10, 11, 12]
        assert cache.section("empty").size == 0


def test_any_flipped_bit_is_seen_or_changes_nothing(path: Path) -> None:
    """One bit of each byte: the file is refused, or (padding) it still says the same."""
    whole, want = path.read_bytes(), content(path)
    harmless = 0
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1 << (at % 8)
        path.write_bytes(data)
        if is_usable(path):
            harmless += 1
            assert content(path) == want
    assert harmless < 256, "only padding may change"


@pytest.mark.parametrize("size", [0, 5, 20, 31, 32, 100, 300, 500, 700])
def test_a_file_that_was_cut_is_refused(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    assert not is_usable(path)


@pytest.mark.parametrize("data", [b"", b"PREPSPL2", b"PREPSPL2" + b"\xff" * 40, b"\0" * 500, b"PREPSPL1" + b"\0" * 500])
def test_what_is_no_cache_file_is_refused(path: Path, data: bytes) -> None:
    """An impossible header length allocates nothing."""
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"not a cache file|damaged"):
        TokenCache(str(path))


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.cache"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        TokenCache(str(link))
