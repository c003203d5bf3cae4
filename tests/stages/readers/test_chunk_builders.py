"""Rows and spans go into chunks and come out as they were, whatever the size of blocks and chunks."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.findings import Note
from stages.core.records import Limits, Record
from stages.readers.chunk_builders import (
    Row,
    SpanChunks,
    physical_lines,
    row_chunks,
    row_records,
    span_records,
    text_rows,
)

NOTE = Note("csv.row", "", "a bad row")
ROWS = st.lists(st.tuples(st.binary(max_size=8), st.booleans()), max_size=12)


def blocks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@settings(max_examples=50)
@given(ROWS, st.integers(1, 40))
def test_rows_come_out_with_their_places_and_notes(rows: list[tuple[bytes, bool]], chunk_bytes: int) -> None:
    """Also rows that hold line breaks, which are told apart by their places alone."""
    made = [Row(data, at + 2, 10 * at, 10 * at + 9, NOTE if bad else None) for at, (data, bad) in enumerate(rows)]
    chunks = list(row_chunks("a.csv", made, Limits(chunk_bytes=chunk_bytes)))
    found = [record for chunk in chunks for record in row_records(chunk.data or b"", chunk)]
    assert found == [Record(row.data, row.line, at, row.byte_offset) for at, row in enumerate(made)]
    marked = [chunk.first_record + which for chunk in chunks for which, _ in chunk.marks]
    assert marked == [at for at, (_, bad) in enumerate(rows) if bad]
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(len(chunk.data or b"") >= chunk_bytes - 1 for chunk in chunks[:-1])


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"\n")), st.integers(1, 20))
def test_lines_are_those_of_the_whole_whatever_the_blocks(data: bytes, size: int) -> None:
    lines = list(physical_lines(blocks(data, size), 3, Limits(), lambda: True))
    want = data.split(b"\n")
    if not want[-1]:
        want.pop()
    assert [line.data for line in lines] == want
    assert [line.number for line in lines] == list(range(1, len(want) + 1))
    assert all(data[line.offset - 3 :].startswith(line.data) for line in lines)


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(1, 20))
def test_a_line_over_the_limit_is_cut_and_its_neighbours_keep_their_places(lengths: list[int], size: int) -> None:
    limits = Limits(line_bytes=10, cut_bytes=4)
    data = b"".join(b"x" * length + b"\n" for length in lengths)
    lines = list(physical_lines(blocks(data, size), 0, limits, lambda: True))
    assert [line.size for line in lines] == lengths
    assert [len(line.data) for line in lines] == [length if length <= 10 else 4 for length in lengths]
    assert [line.offset for line in lines] == [sum(lengths[:at]) + at for at in range(len(lengths))]


def test_plain_text_is_a_row_a_line_without_the_blank_ones() -> None:
    rows = list(text_rows([b"one\r\n\n  \ntwo \xc3\xa9\nbad \xff\n" + b"x" * 30], 0, Limits(line_bytes=20)))
    assert [(row.line, row.note.rule if row.note else "") for row in rows] == [
        (1, ""),
        (4, ""),
        (5, "bytes.bad-utf8"),
        (6, "bytes.line-too-long"),
    ]
    assert [orjson.loads(row.data) for row in rows[:2]] == [{"text": "one"}, {"text": "two é"}]
    assert rows[2].data == b"bad \xff", "what cannot be rendered keeps its bytes"


@given(st.lists(st.lists(st.binary(min_size=1, max_size=5), max_size=3), max_size=6), st.integers(1, 30))
def test_spans_come_out_with_their_places(pieces: list[list[bytes]], chunk_bytes: int) -> None:
    data = b"".join(b" ".join([*values, b"\n"]) for values in pieces)
    spans = SpanChunks("a.json", "array", Limits(chunk_bytes=chunk_bytes), keep=False)
    chunks, want = [], []
    at, line = 0, 1
    for values in pieces:
        piece = b" ".join([*values, b"\n"])
        places, inner = [], 0
        for value in values:
            places += [inner, inner + len(value)]
            want.append((value, data.count(b"\n", 0, at + inner) + 1, at + inner))
            inner += len(value) + 1
        chunks += list(spans.add(piece, at, line, places))
        at, line = at + len(piece), line + piece.count(b"\n")
    chunks += list(spans.close())
    found = [record for chunk in chunks for record in span_records(data[chunk.start : chunk.end], chunk)]
    assert [(record.data, record.line, record.byte_offset) for record in found] == want
    assert [record.record for record in found] == list(range(len(want)))
    assert spans.records == len(want)


def test_a_record_too_long_is_a_chunk_of_its_own_that_carries_its_head() -> None:
    spans = SpanChunks("a.json", "array", Limits(), keep=False)
    assert list(spans.add(b"[1,", 0, 1, [1, 2])) == []
    before, cut = spans.oversized(3, 1000, 1, b'{"a": "xx', NOTE)
    assert (before.records, before.data, before.digest != "") == (1, None, True)
    assert (cut.start, cut.end, cut.data, cut.marks) == (3, 1000, b'{"a": "xx', ((0, NOTE),))
    assert [record.data for record in span_records(cut.data or b"", cut)] == [b'{"a": "xx']
    (after,) = [*spans.add(b"2]", 1000, 1, [0, 1]), *spans.close()]
    assert (after.index, after.first_record) == (2, 2)
