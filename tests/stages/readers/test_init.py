"""Reading as a whole: paths in, every record out once, in order, with a place that leads back to its bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import UsageFault
from stages.core.records import Chunk, FileInfo, Limits, Record
from stages.readers.discover import discover
from stages.readers.scan import records, scan

ROWS = [{"n": number, "text": "line\nbreak é"} for number in range(7)]


def read(path: str, limits: Limits) -> list[Record]:
    *chunks, info = scan(path, limits)
    assert isinstance(info, FileInfo)
    found = [record for chunk in chunks if isinstance(chunk, Chunk) for record in records(chunk, limits)]
    assert info.records == len(found)
    return found


@settings(max_examples=15)
@given(chunk_bytes=st.integers(1, 300))
def test_all_files_of_a_folder_give_their_records_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, chunk_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("data")
    lines = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)
    (folder / "a.jsonl").write_bytes(lines)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    (folder / "c.json").write_bytes(orjson.dumps(ROWS, option=orjson.OPT_INDENT_2))
    for path in discover(str(folder)):
        found = read(path, Limits(chunk_bytes=chunk_bytes))
        assert [orjson.loads(record.data) for record in found] == ROWS
        assert [record.record for record in found] == list(range(len(ROWS)))


def test_the_place_of_a_record_leads_back_to_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}\r\n\n{"n": 2}\n{"n": 3}')
    data = path.read_bytes()
    found = read(str(path), Limits())
    assert [record.line for record in found] == [1, 3, 4]
    for record in found:
        assert data[record.byte_offset :].startswith(record.data)


def test_a_path_that_is_not_there_is_a_fault_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="no such file"):
        list(scan(str(tmp_path / "absent.jsonl")))
