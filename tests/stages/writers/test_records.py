"""Containers out: what is written is what any reader of that kind of file reads."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UsageFault
from stages.core.records import Chunk
from stages.readers.scan import records, scan
from stages.writers.records import container_of, open_rows
from stages.writers.tables import cell

ROWS = [{"a": "x", "b": 1}, {"a": "你好\n\u2028", "b": 2}, {"a": '"', "b": 3}]


def write(path: Path, rows: list[dict[str, Any]], *, block: int = 2) -> dict[str, dict[str, int]]:
    """Writes rows, `block` at a time; returns what the container changed."""
    with open_rows(path) as sink:
        for at in range(0, len(rows), block):
            part = rows[at : at + block]
            sink.add("\n".join(json.dumps(row, ensure_ascii=False) for row in part).encode(), len(part))
        sink.finish()
    return sink.changed


def read(path: Path) -> list[Any]:
    """The rows as our own reader gives them."""
    return [json.loads(record.data) for item in scan(str(path)) if isinstance(item, Chunk) for record in records(item)]


@pytest.mark.parametrize(
    "name", ["x.jsonl", "x.json", "x.jsonl.gz", "x.json.zst", "x.jsonl.bz2", "x.json.xz", "x.parquet"]
)
@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]])
def test_rows_come_back(tmp_path: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Order, Unicode and numbers survive in every container."""
    assert write(tmp_path / name, rows) == {}
    assert read(tmp_path / name) == rows


@pytest.mark.parametrize(
    ("name", "unpack"),
    [
        ("x.json", bytes),
        ("x.json.gz", gzip.decompress),
        ("x.json.bz2", bz2.decompress),
        ("x.json.xz", lzma.decompress),
        ("x.json.zst", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
    ],
)
def test_an_array_is_an_array_for_every_reader(tmp_path: Path, name: str, unpack: Any) -> None:
    """Compressed or not, empty or not."""
    write(tmp_path / name, ROWS)
    assert json.loads(unpack((tmp_path / name).read_bytes())) == ROWS
    write(tmp_path / name, [])
    assert json.loads(unpack((tmp_path / name).read_bytes())) == []


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl.zst", "x.json.bz2", "x.json.xz", "x.parquet", "x.csv"])
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    """Nothing of the clock, the name or the folder is in the file."""
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other"):
        write(folder / name, ROWS)
    assert (tmp_path / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_csv_says_what_is_no_text(tmp_path: Path) -> None:
    """Numbers and lists of a column that is none of the format's have no type in CSV: they are counted."""
    rows = [{"a": "x", "n": 1}, {"a": None, "h": [["q", "a"]]}]
    assert write(tmp_path / "x.csv", rows) == {
        "n": {"to JSON text": 1, "missing to null": 1}, "h": {"to JSON text": 1, "missing to null": 1},
    }  # fmt: skip
    assert read(tmp_path / "x.csv") == [{"a": "x", "n": "1", "h": None}, {"a": None, "n": None, "h": '[["q","a"]]'}]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_a_csv_row_is_read_back_by_the_standard_reader(texts: list[str]) -> None:
    """Quotes, commas, line ends and blanks inside of a cell."""
    line = ",".join(cell(text, len(texts)) for text in texts) + "\n"
    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [texts]


def test_messages_of_parquet_are_nested_columns(tmp_path: Path) -> None:
    """A list of messages stays one; a key that a message lacks becomes null, and is counted."""
    rows = [{"m": [{"role": "user", "weight": 1}]}, {"m": [{"role": "user"}], "id": "x"}]
    assert write(tmp_path / "x.parquet", rows) == {"m": {"missing keys to null": 1}, "id": {"missing to null": 1}}
    assert read(tmp_path / "x.parquet")[1] == {"m": [{"role": "user", "weight": None}], "id": "x"}


def test_tools_do_not_get_each_others_parameters(tmp_path: Path) -> None:
    """Definitions with different parameters stay apart: the column is their JSON text, and read as what they were."""
    rows = [{"tools": [{"parameters": {"properties": {name: {"type": "string"}}}}]} for name in ("a", "b")]
    assert write(tmp_path / "x.parquet", rows) == {"tools": {"as JSON text": 2}}
    assert read(tmp_path / "x.parquet") == rows


@pytest.mark.parametrize("values", [[1, "a"], [10**30, 1], [{}, None], [[1], "x"]])
def test_mixed_columns_are_json_text(tmp_path: Path, values: list[Any]) -> None:
    """What has no one type is not bent into one, and comes back as it was."""
    write(tmp_path / "x.parquet", [{"v": value} for value in values])
    assert [row["v"] for row in read(tmp_path / "x.parquet")] == values


@pytest.mark.parametrize("name", ["x", "x.txt", "x.gz", "x.parquet.gz", "folder/"])
def test_a_name_that_says_nothing_is_refused(name: str) -> None:
    """The hint lists the endings."""
    with pytest.raises(UsageFault) as caught:
        container_of(name)
    assert ".jsonl" in caught.value.hint


def test_lists_of_messages_are_no_csv(tmp_path: Path) -> None:
    """A chat record in CSV would be read by nobody."""
    with pytest.raises(UsageFault, match="CSV"), open_rows(tmp_path / "x.csv", flat=False):
        pass
    assert list(tmp_path.iterdir()) == []


def fail(path: Path) -> None:
    with open_rows(path) as sink:
        sink.add(b'{"a": 1}', 1)
        raise ZeroDivisionError


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    """Neither the output nor anything beside it."""
    for name in ("x.jsonl", "x.parquet", "x.csv.gz"):
        with pytest.raises(ZeroDivisionError):
            fail(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
