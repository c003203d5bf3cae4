"""A shard holds the rows that were planned, cut and labelled, and its lineage says where every token came from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import MachineFault
from stages.truncate import CutOptions
from stages.writers import shard as module
from stages.writers.shard import ShardResult, ShardTask, write_shard
from tests.support.token_caches import Example, write_caches

LM = CutOptions("lm", 1000)
PAIR = Example(((1, 2), (3,), (4,), (5, 6)), (0, 1, 0, 1))
ONE = Example(((7, 8, 9), (10, 11)), (0, 1))


def written(
    folder: Path, chunks: list[list[Example]], row_sizes: list[int], options: CutOptions = LM, *, packed: bool = True
) -> tuple[ShardResult, list[dict[str, Any]], list[dict[str, Any]]]:
    """The result, the rows and the lineage of a shard of these examples."""
    folder.mkdir(exist_ok=True)
    caches, parts = write_caches(folder, chunks)
    paths = (str(folder / "data.arrow"), str(folder / "lineage.arrow"))
    result = write_shard(options, ShardTask(*paths, caches, parts, np.array(row_sizes, dtype=np.int32), packed))
    rows = pa.ipc.open_stream(Path(paths[0]).read_bytes()).read_all().to_pylist()
    return result, rows, pa.ipc.open_file(paths[1]).read_all().to_pylist()


def test_packed_rows_are_their_examples_end_to_end(tmp_path: Path) -> None:
    result, rows, lineage = written(tmp_path, [[PAIR], [ONE]], [2])
    assert rows == [
        {
            "input_ids": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            "labels": [-100, -100, 3, -100, 5, 6, -100, -100, -100, 10, 11],
            "seq_lengths": [6, 5],
        }
    ]
    assert [(one["row"], one["start"], one["tokens"], one["line"]) for one in lineage] == [(0, 0, 6, 1), (0, 6, 5, 2)]
    assert [(one["before"], one["after"], one["trained"]) for one in lineage] == [
        ([2, 1, 1, 2], None, None),
        ([3, 2], None, None),
    ]
    assert (result.rows, result.parts, result.tokens, result.trained_tokens) == (1, 2, 11, 5)


def test_the_manifest_s_figures_are_those_of_the_files(tmp_path: Path) -> None:
    result, _, _ = written(tmp_path, [[PAIR, ONE]], [1, 1], packed=False)
    data, lineage = (tmp_path / "data.arrow").read_bytes(), (tmp_path / "lineage.arrow").read_bytes()
    assert (result.bytes, result.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (result.lineage_bytes, result.lineage_sha256) == (len(lineage), hashlib.sha256(lineage).hexdigest())


def test_a_cut_example_says_what_was_kept(tmp_path: Path) -> None:
    _, rows, lineage = written(tmp_path, [[ONE]], [1], CutOptions("lm", 3), packed=False)
    (example,) = lineage
    assert example["before"] == [3, 2]
    assert sum(example["after"]) == example["tokens"] == len(rows[0]["input_ids"]) == 3
    source, target = example["after"]
    assert rows[0] == {
        "input_ids": [*ONE.segments[0][:source], *ONE.segments[1][:target]],
        "labels": [-100] * source + list(ONE.segments[1][:target]),
    }


@pytest.mark.parametrize(
    ("kind", "example", "row"),
    [
        ("pref", Example(((1,), (2,), (4,)), (0, 1, 1)), {"prompt_ids": [1], "chosen_ids": [2], "rejected_ids": [4]}),
        ("unpaired", Example(((1,), (2,)), (0, 1), 1), {"prompt_ids": [1], "completion_ids": [2], "label": True}),
        ("unpaired", Example(((1,), (2,)), (0, 1), 0), {"prompt_ids": [1], "completion_ids": [2], "label": False}),
        ("prompt", Example(((1, 2), ()), (0, 1)), {"prompt_ids": [1, 2], "label_ids": []}),
    ],
)
def test_each_kind_has_its_columns(kind: str, example: Example, row: dict[str, Any], tmp_path: Path) -> None:
    _, rows, _ = written(tmp_path, [[example]], [1], CutOptions(kind, 1000), packed=False)
    assert rows == [row]


segments = st.lists(st.integers(0, 9), max_size=4).map(tuple)
turns = st.lists(st.tuples(segments, segments), min_size=1, max_size=3)
examples = turns.map(lambda pairs: Example(tuple(s for pair in pairs for s in pair), (0, 1) * len(pairs)))


@settings(max_examples=12)
@given(st.lists(st.lists(examples, min_size=1, max_size=4), min_size=1, max_size=3), st.integers(1, 3))
def test_how_rows_are_grouped_changes_no_byte(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[list[Example]], each: int
) -> None:
    count = sum(map(len, chunks))
    sizes = [each] * (count // each) + ([count % each] if count % each else [])
    folder = tmp_path_factory.mktemp("shards", numbered=True)
    _, rows, lineage = written(folder / "a", chunks, sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP_TOKENS", 1)
        patch.setattr(module, "OPEN_CACHES", 1)
        _, again, lineage_again = written(folder / "b", chunks, sizes)
    assert (again, lineage_again) == (rows, lineage)
    flat = [example for chunk in chunks for example in chunk]
    assert [token for row in rows for token in row["input_ids"]] == [t for e in flat for s in e.segments for t in s]
    assert [one["row"] for one in lineage] == [row for row, size in enumerate(sizes) for _ in range(size)]


def test_a_cache_that_is_too_short_is_an_error_and_leaves_no_shard(tmp_path: Path) -> None:
    caches, parts = write_caches(tmp_path, [[PAIR]])
    cut = Path(caches[0])
    cut.write_bytes(cut.read_bytes()[:-128])
    task = ShardTask(str(tmp_path / "d"), str(tmp_path / "l"), caches, parts, np.array([1], dtype=np.int32), True)
    with pytest.raises(ValueError, match="shorter"):
        write_shard(LM, task)
    assert not (tmp_path / "d").exists()
    assert not (tmp_path / "l").exists()


def test_a_folder_that_is_not_there_is_the_machine_s_fault(tmp_path: Path) -> None:
    caches, parts = write_caches(tmp_path, [[PAIR]])
    nowhere = str(tmp_path / "no" / "d")
    with pytest.raises(MachineFault):
        write_shard(LM, ShardTask(nowhere, nowhere, caches, parts, np.array([1], dtype=np.int32), True))
