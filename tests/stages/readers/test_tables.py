"""Parquet and Arrow: rows as they are, bounded, and damage named instead of crashing."""

from __future__ import annotations

import datetime
import decimal
import random
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.core.records import FileInfo, Limits, Record
from stages.readers.scan import records, scan

ROWS = [
    {
        "id": n,
        "text": f"row {n} 中文 007",
        "maybe": None if n % 3 else "NA",
        "messages": [{"role": "user", "content": f"hi {n}"}, {"role": "assistant", "content": ""}],
        "score": n / 4,
    }
    for n in range(500)
]


def _file(path: Path, table: pa.Table, **options: object) -> None:
    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=100)


def _stream(path: Path, table: pa.Table, **options: object) -> None:
    with pa.ipc.new_stream(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=100)


def _parquet(path: Path, table: pa.Table, **options: object) -> None:
    pq.write_table(table, path, write_page_checksum=True, row_group_size=100, **options)


WRITERS: dict[str, Callable[..., None]] = {"parquet": _parquet, "arrow": _file, "arrow-stream": _stream}
kinds = pytest.mark.parametrize("kind", WRITERS)


def read(path: Path, limits: Limits | None = None) -> tuple[list[Record], FileInfo]:
    *chunks, info = scan(str(path), limits or Limits())
    assert isinstance(info, FileInfo)
    found = [record for chunk in chunks for record in records(chunk)]
    assert [record.record for record in found] == list(range(info.records))
    return found, info


def values(found: list[Record]) -> list[object]:
    return [orjson.loads(record.data) for record in found]


@kinds
@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
def test_rows_come_back_as_they_were_written(tmp_path: Path, kind: str, compression: str | None) -> None:
    path = tmp_path / "a.bin"
    named = {"compression": compression or "NONE"} if kind == "parquet" else {"compression": compression}
    WRITERS[kind](path, pa.Table.from_pylist(ROWS), **named)
    found, info = read(path, Limits(chunk_bytes=5000))
    assert values(found) == ROWS
    assert [record.line for record in found] == list(range(1, 501))
    assert (info.container, info.notes, info.bytes) == (kind, (), path.stat().st_size)


@kinds
def test_dictionary_columns_read_as_their_values(tmp_path: Path, kind: str) -> None:
    table = pa.table({"text": pa.array(["a", "b", "a", None] * 50).dictionary_encode()})
    WRITERS[kind](tmp_path / "a", table)
    assert values(read(tmp_path / "a")[0]) == [{"text": text} for text in ["a", "b", "a", None] * 50]


@kinds
def test_times_and_decimals_become_text(tmp_path: Path, kind: str) -> None:
    table = pa.table(
        {
            "day": pa.array([datetime.date(2024, 1, 2)]),
            "at": pa.array([1704164645123456789], pa.timestamp("ns")),
            "price": pa.array([decimal.Decimal("1.10")]),
            "nan": pa.array([float("nan")]),
        }
    )
    WRITERS[kind](tmp_path / "a", table)
    assert values(read(tmp_path / "a")[0]) == [
        {"day": "2024-01-02", "at": "2024-01-02 03:04:05.123456789", "price": "1.10", "nan": None}
    ]


@kinds
def test_a_column_of_bytes_is_left_out_and_named(tmp_path: Path, kind: str) -> None:
    table = pa.table({"text": ["a"], "image": pa.array([{"bytes": b"\xff\x00", "path": "x"}])})
    WRITERS[kind](tmp_path / "a", table)
    found, info = read(tmp_path / "a")
    assert values(found) == [{"text": "a"}]
    assert [note.rule for note in info.notes] == ["table.binary-column"]


@kinds
def test_two_columns_of_one_name_are_refused(tmp_path: Path, kind: str) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    WRITERS[kind](tmp_path / "a", table)
    found, info = read(tmp_path / "a")
    assert not found
    assert [note.rule for note in info.notes] == ["table.duplicate-column"]


@kinds
@pytest.mark.parametrize("name", ["arrow.py_extension_type", "my.company.type"])
def test_an_unknown_extension_type_is_refused_and_runs_nothing(tmp_path: Path, kind: str, name: str) -> None:
    metadata = {"ARROW:extension:name": name, "ARROW:extension:metadata": b"\x80\x04cos\nsystem\n."}
    schema = pa.schema([pa.field("x", pa.list_(pa.field("item", pa.string(), metadata=metadata)))])
    WRITERS[kind](tmp_path / "a", pa.table({"x": [["a"]]}, schema=schema))
    found, info = read(tmp_path / "a")
    assert not found
    assert [note.rule for note in info.notes] == ["table.extension-type"]


def test_files_of_other_writers_read_too(tmp_path: Path) -> None:
    """polars leaves the schema's framing out of the file format, which the footer makes up for."""
    import polars

    frame = polars.DataFrame(ROWS)
    frame.write_ipc(tmp_path / "a.arrow", compression="zstd")
    frame.write_ipc_stream(tmp_path / "b.arrow")
    frame.write_parquet(tmp_path / "c.parquet")
    for name in ("a.arrow", "b.arrow", "c.parquet"):
        found, info = read(tmp_path / name)
        assert values(found) == ROWS
        assert not info.notes


@pytest.mark.parametrize("kind", ["arrow", "arrow-stream"])
def test_a_file_cut_between_two_batches_is_noticed(tmp_path: Path, kind: str) -> None:
    """Arrow itself takes a stream cut there for a shorter table."""
    path = tmp_path / "a.arrow"
    WRITERS[kind](path, pa.Table.from_pylist(ROWS))
    whole = path.read_bytes()
    ends = [at for at in range(8, len(whole), 8) if whole[at : at + 4] == b"\xff\xff\xff\xff"]
    for cut in ends[2:5]:
        path.write_bytes(whole[:cut])
        found, info = read(path)
        assert [note.rule for note in info.notes] == ["bytes.truncated-file"]
        assert values(found) == ROWS[: len(found)]
        assert len(found) < 500
    assert found or kind == "arrow"  # without its footer an Arrow file names no batch


def test_an_end_mark_in_the_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    _stream(path, pa.Table.from_pylist(ROWS))
    data = bytearray(path.read_bytes())
    marks = [at for at in range(8, len(data), 8) if data[at : at + 4] == b"\xff\xff\xff\xff"]
    data[marks[3] + 4 : marks[3] + 8] = bytes(4)
    path.write_bytes(data)
    _, info = read(path)
    assert [note.rule for note in info.notes] == ["bytes.damaged-file"]


@kinds
def test_any_damage_ends_in_a_finding_or_whole_rows(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.bin"
    WRITERS[kind](path, pa.Table.from_pylist(ROWS))
    whole = path.read_bytes()
    rng = random.Random(5)
    for _ in range(60):
        data = bytearray(whole)
        if rng.random() < 0.3:
            del data[rng.randrange(16, len(data)) :]
        else:
            for _ in range(rng.randrange(1, 3)):
                data[rng.randrange(16, len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        found, info = read(path)
        for record in found:
            orjson.loads(record.data)
        if len(found) < 500:
            assert info.notes


def test_a_parquet_column_that_unpacks_out_of_proportion_is_refused(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": ["x" * (8 << 20)] * 3}), tmp_path / "a.parquet", compression="zstd", use_dictionary=False
    )
    found, info = read(tmp_path / "a.parquet", Limits(ratio_floor=1 << 20, line_bytes=1 << 30))
    assert not found
    assert [note.rule for note in info.notes] == ["bytes.bomb"]


def test_a_dictionary_that_repeats_one_giant_text_is_stopped(tmp_path: Path) -> None:
    table = pa.table({"text": pa.DictionaryArray.from_arrays([0] * 2000, ["x" * 1_000_000])})
    pq.write_table(table, tmp_path / "a.parquet")
    _, info = read(tmp_path / "a.parquet", Limits(ratio_floor=16 << 20))
    assert [note.rule for note in info.notes] == ["bytes.bomb"]


def test_an_arrow_buffer_that_claims_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    _stream(tmp_path / "a.arrow", pa.table({"text": ["x" * (64 << 20)]}), compression="zstd")
    found, info = read(tmp_path / "a.arrow", Limits(ratio_floor=1 << 20))
    assert not found
    assert [note.rule for note in info.notes] == ["bytes.bomb"]


@pytest.mark.parametrize("inner", [pa.null(), pa.struct([]), pa.list_(pa.null(), 1000)])
def test_a_list_of_nothing_cannot_claim_millions_of_entries(tmp_path: Path, inner: pa.DataType) -> None:
    entries = pa.nulls(2_000_000, inner)
    column = pa.ListArray.from_arrays(pa.array([0, 2_000_000], pa.int32()), entries)
    _stream(tmp_path / "a.arrow", pa.table({"text": pa.StructArray.from_arrays([column], names=["x"])}))
    found, info = read(tmp_path / "a.arrow")
    assert not found
    assert [note.rule for note in info.notes] == ["bytes.bomb"]


@kinds
def test_a_row_over_the_limit_is_cut_and_named(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "a", pa.table({"text": ["a", "b" * 5000, "c"]}))
    found, _ = read(tmp_path / "a", Limits(line_bytes=1000, cut_bytes=10))
    assert [[note.rule for note in record.notes] for record in found] == [[], ["bytes.line-too-long"], []]


def test_a_file_named_parquet_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 is how it starts")
    found, info = read(tmp_path / "a.parquet")
    assert not found
    assert [note.rule for note in info.notes] == ["bytes.damaged-file"]


@kinds
def test_a_table_without_rows_says_so(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "a", pa.table({"text": pa.array([], pa.string())}))
    _, info = read(tmp_path / "a")
    assert [note.rule for note in info.notes] == ["bytes.empty"]
