"""What stands in no row keeps its lengths, so that another cutoff can be costed later."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from registry.errors import MachineFault
from stages.writers.excluded import Excluded, write_excluded
from tests.support.token_caches import Example, write_caches

CHUNKS = [
    [Example(((1, 2), (3,)), (0, 1)), Example(((4,), (5, 6), (7,), ()), (0, 1, 0, 0))],
    [Example(((8, 9, 10), (11,)), (0, 1))],
]


def excluded(folder: Path, order: list[int], splits: list[str]) -> tuple[tuple[str, ...], Excluded]:
    caches, parts = write_caches(folder, CHUNKS)
    some = parts.take(np.array(order, dtype=np.int64))
    place = np.arange(len(order), dtype=np.int64)
    return caches, Excluded(
        splits, place, some.source, some.line, some.record, some.cache, some.segment_start, some.segments
    )


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.ipc.open_file(str(path)).read_all().to_pylist()
    return rows


def test_lengths_come_back_in_the_given_order_whatever_cache_they_lie_in(tmp_path: Path) -> None:
    caches, left = excluded(tmp_path, [2, 1, 0], ["train", "", "validation"])
    size, digest = write_excluded(str(tmp_path / "x"), caches, left, "lm")
    rows = read(tmp_path / "x")
    assert [row["before"] for row in rows] == [[3, 1], [1, 2, 1, 0], [2, 1]]
    assert [row["line"] for row in rows] == [3, 2, 1]
    assert [row["split"] for row in rows] == ["train", "", "validation"]
    data = (tmp_path / "x").read_bytes()
    assert (size, digest) == (len(data), hashlib.sha256(data).hexdigest())


def test_only_an_unusual_choice_of_trained_segments_is_written(tmp_path: Path) -> None:
    caches, left = excluded(tmp_path, [0, 1, 2], ["", "", ""])
    write_excluded(str(tmp_path / "x"), caches, left, "lm")
    assert [row["trained"] for row in read(tmp_path / "x")] == [None, [0, 1, 0, 0], None]


def test_an_example_used_twice_is_there_twice(tmp_path: Path) -> None:
    caches, left = excluded(tmp_path, [0, 0], ["train", "train"])
    write_excluded(str(tmp_path / "x"), caches, left, "lm")
    assert [row["before"] for row in read(tmp_path / "x")] == [[2, 1], [2, 1]]


def test_nothing_excluded_is_a_file_without_rows(tmp_path: Path) -> None:
    caches, left = excluded(tmp_path, [], [])
    write_excluded(str(tmp_path / "x"), caches, left, "lm")
    assert read(tmp_path / "x") == []


def test_a_cache_that_is_gone_or_a_folder_that_is_not_there_raises(tmp_path: Path) -> None:
    caches, left = excluded(tmp_path, [0], ["train"])
    with pytest.raises(MachineFault):
        write_excluded(str(tmp_path / "no" / "x"), caches, left, "lm")
    Path(caches[0]).unlink()
    with pytest.raises(FileNotFoundError):
        write_excluded(str(tmp_path / "x"), caches, left, "lm")
    assert not (tmp_path / "x").exists()
