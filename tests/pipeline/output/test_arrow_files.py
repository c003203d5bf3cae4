"""Arrow files of an output are read whole and as they were written, or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.output.arrow_files import ArrowFiles
from registry.errors import DataFault
from registry.kinds import ROW_KINDS

LM = ROW_KINDS["lm"]
INTS = pa.list_(pa.int32())
SMALL = pa.schema([pa.field("row", pa.int32()), pa.field("line", pa.int32())])


def stream(path: Path, table: pa.Table) -> None:
    with pa.OSFile(os.fspath(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def rows(*names: str) -> pa.Table:
    return pa.table({name: pa.array([[1, 2], [3]], INTS) for name in names})


def files(out: Path, *, count: int = 2) -> ArrowFiles:
    """The files of a folder as they are now, each said to hold `count` rows."""
    return ArrowFiles(
        out,
        {
            path.name: {
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "rows": count,
            }
            for path in out.iterdir()
        },
    )


def test_a_shard_is_read_as_it_was_written(tmp_path: Path) -> None:
    stream(tmp_path / "a", rows("input_ids", "labels"))
    assert [batch.num_rows for batch in files(tmp_path).batches("a", LM, packed=False)] == [2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes instead of"),
        (lambda path: path.write_bytes(b"\xff" * path.stat().st_size), "a"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is a FIFO"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"labels", b"lobels")), "no column labels"),
    ],
)
def test_damage_names_the_file(tmp_path: Path, change: Callable[[Path], object], said: str) -> None:
    stream(tmp_path / "a", rows("input_ids", "labels"))
    held = files(tmp_path)
    change(tmp_path / "a")
    with pytest.raises(DataFault, match=f"{tmp_path}/a: .*{said}"):
        held.batches("a", LM, packed=False)


def test_another_count_of_rows_and_missing_lengths_are_named(tmp_path: Path) -> None:
    stream(tmp_path / "a", rows("input_ids", "labels"))
    with pytest.raises(DataFault, match="2 rows instead of 3"):
        files(tmp_path, count=3).batches("a", LM, packed=False)
    with pytest.raises(DataFault, match="no column seq_lengths"):
        files(tmp_path).batches("a", LM, packed=True)


def test_a_flipped_byte_of_a_shards_structure_is_an_error_or_harmless(tmp_path: Path) -> None:
    """No flip ends in another exception, and none makes a row that leads out of its file."""
    path = tmp_path / "a"
    stream(path, rows("input_ids", "labels"))
    data, held = path.read_bytes(), files(tmp_path)
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        try:
            batches = held.batches("a", LM, packed=False)
        except DataFault:
            continue
        assert sum(len(row) for batch in batches for row in batch.column("labels").to_pylist()) <= 3


def test_a_small_file_is_hashed_and_its_columns_are_known(tmp_path: Path) -> None:
    table = pa.table({"row": [0, 1], "line": [3, 4]}, schema=SMALL)
    path = tmp_path / "a"
    with pa.OSFile(os.fspath(path), "wb") as sink, pa.ipc.new_file(sink, SMALL) as writer:
        writer.write_table(table)
    held = files(tmp_path)
    assert held.table("a", SMALL, ["line"]).column("line").to_pylist() == [3, 4]
    with pytest.raises(DataFault, match="other columns"):
        held.table("a", SMALL.remove(0))
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    with pytest.raises(DataFault, match="its content has changed"):
        ArrowFiles(tmp_path, {"a": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}).table("a", SMALL)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", ".cache/a"])
def test_a_name_that_leads_outside_is_not_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataFault, match="lies outside"):
        ArrowFiles(tmp_path, {name: {"bytes": 1, "sha256": ""}}).unchanged(name)
