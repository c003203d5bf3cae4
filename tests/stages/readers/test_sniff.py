"""What a file is, is told by its content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.core.records import FileInfo, Record
from stages.readers.scan import records, scan
from stages.readers.sniff import ending


def read(path: Path) -> tuple[list[Record], FileInfo]:
    *chunks, info = scan(str(path))
    assert isinstance(info, FileInfo)
    return [record for chunk in chunks for record in records(chunk)], info


PRETTY = json.dumps({"messages": [{"role": "user", "content": "hi"}], "n": 1}, indent=2)
CASES = [
    ("a.jsonl", '{"a": 1}\n{"a": 2}\n', "jsonl", 2, []),
    ("a.json", '{"a": 1}\n{"a": 2}\n', "jsonl", 2, []),
    ("a.json", '[{"a": 1}]', "array", 1, []),
    ("a.jsonl", '[{"a": 1}, {"a": 2}]', "array", 2, ["json.array-in-jsonl"]),
    ("a.jsonl", '[\n {"a": 1}\n]\n', "array", 1, ["json.array-in-jsonl"]),
    ("a.jsonl", '[{"a": 1}]\n[{"a": 2}]\n', "jsonl", 2, []),
    ("a.json", PRETTY, "object", 1, []),
    ("a.json", PRETTY + "\n" + PRETTY + "\n", "object", 2, ["json.spread-objects"]),
    ("a.json", '{ "a": "x"\n}\n', "object", 1, []),
    ("a.jsonl", '{"a": "cut\n{"a": 1}\n', "jsonl", 2, []),
    ("a.jsonl", '{"a": "cut",\n{"a": 1}\n', "jsonl", 2, []),
    ("a.jsonl", '{"a":\n{"a": 1}\n', "jsonl", 2, []),
    ("a.jsonl", '{"a": 1},\n{"a": 2},\n', "jsonl", 2, []),
    ("a.jsonl", '\n\n  {"a": 1}\n', "jsonl", 1, []),
    ("a.jsonl", 'not json\n{"a": 1}\n', "jsonl", 2, []),
    ("noname", '{"a": 1}\n', "jsonl", 1, []),
    ("a.json", '\ufeff[{"a": 1}]', "array", 1, ["bytes.bom"]),
    ("a.jsonl", '\ufeff{"a": 1}\n', "jsonl", 1, ["bytes.bom"]),
    ("a.csv", '{"a": 1}\n{"a": 2}\n', "jsonl", 2, ["bytes.extension"]),
]


@pytest.mark.parametrize(("name", "text", "container", "count", "rules"), CASES)
def test_the_content_decides(
    tmp_path: Path, name: str, text: str, container: str, count: int, rules: list[str]
) -> None:
    (tmp_path / name).write_text(text)
    found, info = read(tmp_path / name)
    assert (info.container, info.records, [note.rule for note in info.notes]) == (container, count, rules)
    assert len(found) == count


def test_a_mark_at_the_start_moves_the_first_record_by_three_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"a": 2}\n')
    found, _ = read(tmp_path / "a.jsonl")
    assert [(record.byte_offset, record.data) for record in found] == [(3, b'{"a": 1}'), (12, b'\xef\xbb\xbf{"a": 2}')]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"text": "你好"}\n'.encode(encoding))
    found, info = read(tmp_path / "a.jsonl")
    assert not found
    assert [note.rule for note in info.notes] == ["bytes.utf16"]
    assert "iconv" in info.notes[0].hint


@pytest.mark.parametrize(
    "head",
    [b"PK\x03\x04rest", b"\x04\x22\x4d\x18", b"%PDF-1.7", b"\x7fELF",
     b"\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94", b"\x80\x02]q\0K\x01a.",
     b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"],
)  # fmt: skip
def test_what_is_no_text_is_named_and_never_opened(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(head)
    found, info = read(tmp_path / "a.jsonl")
    assert not found
    assert [note.rule for note in info.notes] == ["bytes.not-text"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.jsonl", ("jsonl", "")),
        ("a.JSON.GZ", ("json", "gz")),
        ("a.b.csv.zst", ("csv", "zst")),
        ("gz", ("", "")),
        ("a.gz", ("", "gz")),
        ("x.ndjson.xz", ("jsonl", "xz")),
        ("a.tar.gz", ("", "gz")),
    ],
)
def test_names_promise_a_format_and_a_compression(name: str, parts: tuple[str, str]) -> None:
    assert ending(name) == parts
