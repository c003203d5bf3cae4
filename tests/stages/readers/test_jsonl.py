"""JSON lines: every line found, at its own place, whatever stands in it and however the file is cut into blocks."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.records import Chunk, FileInfo, Limits, Record
from stages.readers.jsonl import LineScanner, line_records
from stages.readers.scan import records, scan

DEFAULT = Limits()
TINY = Limits(chunk_bytes=64, line_bytes=40, cut_bytes=10)


def read(path: Path, limits: Limits = DEFAULT) -> tuple[list[Record], FileInfo, list[Chunk]]:
    """Everything a file holds, through the public way."""
    *chunks, info = scan(str(path), limits)
    assert isinstance(info, FileInfo)
    found = [record for chunk in chunks for record in records(chunk, limits)]
    for chunk in chunks:
        assert len(list(records(chunk, limits))) == chunk.records
    assert [record.record for record in found] == list(range(info.records))
    return found, info, chunks


def expected(data: bytes) -> list[tuple[bytes, int, int]]:
    """The plain definition: split at \\n, drop blank lines, trim one carriage return."""
    out = []
    offset = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            out.append((line[:-1] if line.endswith(b"\r") else line, number, offset))
        offset += len(line) + 1
    return out


@given(
    st.lists(st.sampled_from([b"", b" ", b"\r", b"{}\r", b"a", b"\xe2\x80\xa8", b"x" * 30, b'{"a": 1}', b"\x85\x0b"])),
    st.lists(st.integers(1, 40), min_size=1),
    st.booleans(),
    st.booleans(),
)
def test_any_cutting_into_blocks_gives_the_same_records(
    lines: list[bytes], sizes: list[int], final: bool, keep: bool
) -> None:
    data = b"\n".join(lines) + (b"\n" if final else b"")
    blocks, at = [], 0
    for size in itertools.cycle(sizes):
        if at >= len(data):
            break
        blocks.append(data[at : at + size])
        at += size
    scanner = LineScanner("x", TINY, keep=keep)
    found = []
    for chunk in scanner.scan(blocks):
        part = data[chunk.start : chunk.end] if chunk.data is None else chunk.data
        assert not keep or part == data[chunk.start : chunk.end]
        listed = list(line_records(part, chunk))
        assert len(listed) == chunk.records
        found += listed
    assert [(record.data, record.line, record.byte_offset) for record in found] == expected(data)
    assert scanner.records == len(found)


def test_no_other_character_ends_a_line(tmp_path: Path) -> None:
    """U+2028, U+2029, U+0085, form feed and vertical tab are text."""
    text = '{"text": "a\u2028b\u2029c\u0085d"}\x0c\n{"text": "e"}'
    (tmp_path / "a.jsonl").write_text(text)
    found, _, _ = read(tmp_path / "a.jsonl")
    assert [record.line for record in found] == [1, 2]


def test_a_line_over_the_limit_is_cut_and_named_and_its_neighbours_survive(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n' + b"x" * 100 + b'\n{"b": 2}\n' + b"\0" * 90 + b'\n{"c": 3}')
    found, info, _ = read(tmp_path / "a.jsonl", TINY)
    assert [(r.data, r.line, [n.rule for n in r.notes]) for r in found] == [
        (b'{"a": 1}', 1, []),
        (b"x" * 10, 2, ["bytes.line-too-long"]),
        (b'{"b": 2}', 3, []),
        (b"\0" * 10, 4, ["bytes.nul-padding"]),
        (b'{"c": 3}', 5, []),
    ]
    assert [record.byte_offset for record in found] == [0, 9, 110, 119, 210]
    assert info.records == 5


@given(st.lists(st.integers(0, 90), max_size=12), st.integers(1, 50))
def test_long_and_short_lines_in_any_order(sizes: list[int], block: int) -> None:
    data = b"\n".join(b"y" * size for size in sizes)
    scanner = LineScanner("x", TINY, keep=False)
    places = []
    for chunk in scanner.scan(data[at : at + block] for at in range(0, len(data), block)):
        part = chunk.data if chunk.data is not None else data[chunk.start : chunk.end]
        for record in list(line_records(part, chunk)):
            places.append((record.line, record.byte_offset, bool(chunk.marks)))
    assert places == [(line, offset, len(text) > TINY.line_bytes) for text, line, offset in expected(data)]


def test_chunks_follow_each_other_and_cover_every_record(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "0123456789"}\n' * 1000)
    found, info, chunks = read(tmp_path / "a.jsonl", Limits(chunk_bytes=512))
    assert len(chunks) > 30
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert all(one.end == two.start for one, two in itertools.pairwise(chunks))
    assert info.records == len(found) == 1000


def test_windows_line_ends_are_trimmed_and_said_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\r\n{"a": 2}\r\n')
    found, info, _ = read(tmp_path / "a.jsonl")
    assert [record.data for record in found] == [b'{"a": 1}', b'{"a": 2}']
    assert [(note.rule, note.message) for note in info.notes] == [("bytes.crlf", "all lines end in CR LF")]


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\r\n\n"])
def test_a_file_without_records_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    found, info, _ = read(tmp_path / "a.jsonl")
    assert not found
    assert [note.rule for note in info.notes] == ["bytes.empty"]
