"""Files that are small on the disk and without end in memory: each is refused by name, or read in good time."""

from __future__ import annotations

import os
import time
import tracemalloc
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from registry.errors import UsageFault
from stages.core.records import Chunk, FileInfo, Record
from stages.readers.scan import records, scan

MANY = 10**8


def gzipped(path: Path, lead: bytes, unit: bytes, size: int) -> str:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    mebibyte = unit * ((1 << 20) // len(unit))
    blocks = (packer.compress(mebibyte) for _ in range(size >> 20))
    path.write_bytes(packer.compress(lead) + b"".join(blocks) + packer.flush())
    return os.fspath(path)


def read(path: str) -> tuple[int, FileInfo]:
    """Records handed on, and what was said about the file; within ten seconds."""
    start = time.process_time()
    *chunks, info = scan(path)
    assert time.process_time() - start < 10
    assert isinstance(info, FileInfo)
    return sum(chunk.records for chunk in chunks if isinstance(chunk, Chunk)), info


def rows(path: str) -> list[Record]:
    return [record for item in scan(path) if isinstance(item, Chunk) for record in records(item)]


@pytest.mark.parametrize(
    ("name", "lead", "unit"),
    [
        ("a.json.gz", b"[", b"{}"),
        ("a.json.gz", b"[", b"{"),
        ("a.json.gz", b"[", b","),
        ("a.csv.gz", b"a,b\n", b"\n"),
        ("a.csv.gz", b"a,b\n", b"\r\n"),
        ("a.txt.gz", b"a\n", b"\n"),
        ("a.jsonl.gz", b"", b"x\n"),
        ("a.jsonl.gz", b"", b"{}\n"),
    ],
)
def test_repetition_without_end_is_a_bomb(tmp_path: Path, name: str, lead: bytes, unit: bytes) -> None:
    count, info = read(gzipped(tmp_path / name, lead, unit, 128 << 20))
    assert [note.rule for note in info.notes][-1] == "bytes.bomb"
    assert count == info.records < 400_000


def test_a_repeated_record_of_ordinary_length_is_none(tmp_path: Path) -> None:
    row = b'{"instruction": "say something that is not short", "output": "all right, here it is"}\n'
    count, info = read(gzipped(tmp_path / "a.jsonl.gz", b"", row, 40 << 20))
    assert not info.notes
    assert count == 40 * ((1 << 20) // len(row))


def _write(path: Path, form: str, table: pa.Table, packed: str | None = None) -> None:
    if form == "parquet":
        pq.write_table(table, path)
        return
    options = pa.ipc.IpcWriteOptions(compression=packed)
    new = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with new(path, table.schema, options=options) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
def test_a_column_of_nulls_without_end_is_a_bomb(tmp_path: Path, form: str) -> None:
    _write(tmp_path / "a", form, pa.table({"instruction": pa.nulls(MANY), "output": pa.nulls(MANY)}))
    count, info = read(os.fspath(tmp_path / "a"))
    assert (count, [note.rule for note in info.notes]) == (0, ["bytes.bomb"])


@pytest.mark.parametrize("form", ["file", "stream"])
def test_run_end_encoding_is_no_way_round(tmp_path: Path, form: str) -> None:
    column = pa.RunEndEncodedArray.from_arrays(pa.array([MANY], pa.int32()), pa.array(["x"]))
    _write(tmp_path / "a", form, pa.table({"text": column}))
    count, info = read(os.fspath(tmp_path / "a"))
    assert (count, [note.rule for note in info.notes]) == (0, ["bytes.bomb"])


@pytest.mark.parametrize("form", ["file", "stream"])
def test_a_batch_that_unpacks_to_gigabytes_is_a_bomb(tmp_path: Path, form: str) -> None:
    column = pa.array(["x" * 1000]).take(pa.array([0] * 300_000))
    _write(tmp_path / "a", form, pa.table({"text": column}), "lz4")
    count, info = read(os.fspath(tmp_path / "a"))
    assert (count, [note.rule for note in info.notes]) == (0, ["bytes.bomb"])


@pytest.mark.parametrize("form", ["file", "stream"])
def test_ordinary_text_in_lz4_is_read(tmp_path: Path, form: str) -> None:
    column = pa.array([f"record {number} says " * 20 for number in range(50_000)])
    _write(tmp_path / "a", form, pa.table({"text": column}), "lz4")
    assert read(os.fspath(tmp_path / "a"))[0] == 50_000


def test_a_file_of_holes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as handle:
        handle.truncate(8 << 30)
    with pytest.raises(UsageFault, match="holes"):
        read(os.fspath(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("cell", ["x" * 20_000_000, "\n" * 20_000_000, '""' * 10_000_000])
def test_a_giant_cell_is_one_bad_row(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a.csv").write_text(f'a,b\n"{cell}",x\nlast,row\n', newline="")
    tracemalloc.start()
    found = rows(os.fspath(tmp_path / "a.csv"))
    assert tracemalloc.get_traced_memory()[1] < 300 << 20
    tracemalloc.stop()
    assert found[-1].data == b'{"a":"last","b":"row"}'
    assert found[0].notes and not found[-1].notes


def test_blank_lines_inside_a_cell_stay(tmp_path: Path) -> None:
    blank = "\n" * 200_000
    (tmp_path / "a.csv").write_text(f'a\n\n\n"x{blank}y"\n', newline="")
    found = rows(os.fspath(tmp_path / "a.csv"))
    assert [(len(record.data), record.line) for record in found] == [(8 + 2 * 200_000 + 2, 4)]
