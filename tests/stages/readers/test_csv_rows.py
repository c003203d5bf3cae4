"""CSV, TSV and plain text: every cell as it was written, every bad row by itself."""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.records import FileInfo, Limits, Record
from stages.parse.json_record import UNPARSED, parse
from stages.readers.chunk_builders import text_rows
from stages.readers.csv_rows import CsvReader
from stages.readers.scan import records, scan


def read(path: Path, limits: Limits | None = None) -> tuple[list[Record], FileInfo]:
    *chunks, info = scan(str(path), limits or Limits())
    assert isinstance(info, FileInfo)
    found = [record for chunk in chunks for record in records(chunk)]
    assert [record.record for record in found] == list(range(info.records))
    return found, info


def values(found: list[Record]) -> list[object]:
    return [parse(record.data, list(record.notes)) for record in found]


CELLS = st.text(
    alphabet=st.one_of(st.sampled_from('",\n\r;\t a0'), st.characters(exclude_categories=["Cs"])), max_size=6
)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=6), st.integers(1, 20), st.sampled_from(",\t"))
def test_what_the_standard_library_writes_comes_back(rows: list[list[str]], block: int, delimiter: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    data = file.getvalue().encode()
    reader = CsvReader(Limits(), delimiter=delimiter)
    found = [*reader.rows((data[at : at + block] for at in range(0, len(data), block)), 0)]
    assert [orjson.loads(row.data) for row in found] == [dict(zip("ab", row, strict=True)) for row in rows]
    assert not reader.notes
    assert all(row.byte_end == after.byte_offset for row, after in itertools.pairwise(found))


def test_nothing_is_guessed_from_a_cell(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,n\n007,1e5\nNA,null\n2024-01-01,true\n,  x \n")
    found, info = read(tmp_path / "a.csv")
    assert values(found) == [
        {"text": "007", "n": "1e5"},
        {"text": "NA", "n": "null"},
        {"text": "2024-01-01", "n": "true"},
        {"text": None, "n": "  x "},
    ]
    assert [(record.line, record.byte_offset) for record in found] == [(2, 7), (3, 15), (4, 23), (5, 39)]
    assert info.container == "csv"


def test_an_empty_cell_is_null_and_a_pair_of_quotes_is_an_empty_text(tmp_path: Path) -> None:
    """What has no value and what is empty are told apart, as PostgreSQL does; the row is one all the same."""
    (tmp_path / "a.csv").write_text('a,b\n"",\n,""\n,\n')
    assert values(read(tmp_path / "a.csv")[0]) == [{"a": "", "b": None}, {"a": None, "b": ""}, {"a": None, "b": None}]


def test_a_quoted_name_does_not_say_what_separates_the_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"a;b"\n"x;y"\n')
    found, info = read(tmp_path / "a.csv")
    assert values(found) == [{"a;b": "x;y"}]
    assert not info.notes


def test_a_row_may_span_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'a,b\r\n"x\r\ny","say ""hi"""\r\n"z",\r\n')
    found, _ = read(tmp_path / "a.csv")
    assert values(found) == [{"a": "x\r\ny", "b": 'say "hi"'}, {"a": "z", "b": None}]
    assert [record.line for record in found] == [2, 4]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ("x", "table.ragged-row"),
        ("x,y,z", "table.ragged-row"),
        ('"x,y', "table.unclosed-quote"),
        ('"x"y,z', "table.unclosed-quote"),
    ],
)
def test_a_bad_row_is_rejected_alone(tmp_path: Path, bad: str, rule: str) -> None:
    (tmp_path / "a.csv").write_text(f'a,b\n1,2\n{bad}\n3,"4"\n5,6\n')
    found, _ = read(tmp_path / "a.csv")
    assert [[note.rule for note in record.notes] for record in found] == [[], [rule], [], []]
    assert found[1].data == bad.encode()
    assert found[1].line == 3
    assert values(found) == [{"a": "1", "b": "2"}, UNPARSED, {"a": "3", "b": "4"}, {"a": "5", "b": "6"}]


def test_bad_utf8_is_named_at_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n\xff,2\n3,4\n")
    found, _ = read(tmp_path / "a.csv")
    assert [[note.rule for note in record.notes] for record in found] == [[], ["bytes.bad-utf8"], []]


def test_a_name_given_twice_in_the_header_refuses_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,text\na,b\n")
    found, info = read(tmp_path / "a.csv")
    assert not found
    assert [note.rule for note in info.notes] == ["table.duplicate-column"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_another_delimiter_is_found_and_said(tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "a.csv").write_text(f"a{delimiter}b\n1{delimiter}2\n")
    found, info = read(tmp_path / "a.csv")
    assert values(found) == [{"a": "1", "b": "2"}]
    assert [note.rule for note in info.notes] == ["table.delimiter"]


def test_tabs_separate_the_cells_of_a_tsv(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\n1,5\t2\n")
    assert values(read(tmp_path / "a.tsv")[0]) == [{"a": "1,5", "b": "2"}]


def test_a_header_alone_is_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n")
    _, info = read(tmp_path / "a.csv")
    assert [note.rule for note in info.notes] == ["bytes.empty"]


def test_a_cell_of_a_million_characters_is_a_cell(tmp_path: Path) -> None:
    """The standard library stops at 131,072."""
    (tmp_path / "a.csv").write_text("a,b\n" + "x" * 1_000_000 + ',"' + "y\n" * 100_000 + '"\n')
    (value,) = values(read(tmp_path / "a.csv")[0])
    assert isinstance(value, dict)
    assert (len(value["a"]), len(value["b"])) == (1_000_000, 200_000)


def test_a_quote_that_never_closes_costs_one_row_and_bounded_work(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n"x,y\n' + "1,2\n" * 5000)
    found, _ = read(tmp_path / "a.csv", Limits(cell_bytes=1000))
    assert len(found) == 5001
    assert sum(bool(record.notes) for record in found) == 1


def test_plain_text_is_a_row_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('first "line"\r\n\n  \n[third] 中文\n{"x"')
    found, info = read(tmp_path / "a.txt")
    assert values(found) == [{"text": 'first "line"'}, {"text": "[third] 中文"}, {"text": '{"x"'}]
    assert [(record.line, record.byte_offset) for record in found] == [(1, 0), (4, 18), (5, 33)]
    assert info.container == "txt"


@given(st.lists(st.binary(max_size=12)), st.integers(1, 9))
def test_text_lines_survive_any_cutting_into_blocks(lines: list[bytes], block: int) -> None:
    data = b"\n".join(lines)
    rows = [*text_rows((data[at : at + block] for at in range(0, len(data), block)), 0, Limits(line_bytes=10))]
    expected = [line for line in data.split(b"\n") if line.strip()]
    assert len(rows) == len(expected)
    for row, line in zip(rows, expected, strict=True):
        assert data[row.byte_offset : row.byte_end - 1] == line
