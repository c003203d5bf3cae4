"""JSON arrays of any layout: each element at its place, and one broken element costs no other."""

from __future__ import annotations

import gc
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.records import FileInfo, Limits, Record
from stages.readers.chunk_builders import span_records
from stages.readers.json_array import ArrayScanner
from stages.readers.scan import records, scan

DEFAULT = Limits()
SMALL = Limits(chunk_bytes=256)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.text(alphabet='"\\[]{},: \n'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def read(path: Path, limits: Limits = DEFAULT) -> tuple[list[Record], FileInfo]:
    """Everything a file holds, through the public way."""
    *chunks, info = scan(str(path), limits)
    assert isinstance(info, FileInfo)
    found = [record for chunk in chunks for record in records(chunk, limits)]
    assert [record.record for record in found] == list(range(info.records))
    data = path.read_bytes()
    for record in found:
        if not record.notes:
            assert data[record.byte_offset :].startswith(record.data)
        assert record.line == data.count(b"\n", 0, record.byte_offset) + 1
    return found, info


def split(data: bytes, block: int, limits: Limits = SMALL, *, free: bool = False) -> tuple[list[Record], ArrayScanner]:
    scanner = ArrayScanner("x", limits, keep=False, free=free)
    found = []
    for chunk in scanner.scan(data[at : at + block] for at in range(0, len(data), block)):
        part = chunk.data if chunk.data is not None else data[chunk.start : chunk.end]
        listed = span_records(part, chunk)
        for which, note in chunk.marks:
            listed[which] = listed[which]._replace(notes=(note,))
        found += listed
    return found, scanner


@given(st.lists(JSON), st.sampled_from([None, 0, 2]), st.integers(1, 100), st.booleans())
def test_any_array_splits_into_its_elements(
    values: list[object], indent: int | None, block: int, ascii_only: bool
) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    found, scanner = split(data, block)
    assert [json.loads(record.data) for record in found] == values
    assert not scanner.notes
    assert not any(record.notes for record in found)
    assert all(record.line == data.count(b"\n", 0, record.byte_offset) + 1 for record in found)


@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, min_size=1, max_size=3)), st.integers(1, 100))
def test_free_standing_objects_split_too(values: list[object], block: int) -> None:
    data = "\n".join(json.dumps(value, indent=2) for value in values).encode()
    found, _ = split(data, block, free=True)
    assert [json.loads(record.data) for record in found] == values


LAYOUTS = {
    "one line": lambda rows: "[" + ", ".join(map(json.dumps, rows)) + "]",
    "compact": lambda rows: json.dumps(rows, separators=(",", ":")),
    "indented": lambda rows: json.dumps(rows, indent=2),
    "one a line": lambda rows: "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n",
}
ROWS = [
    {"instruction": f"say {n}", "tags": [n, "x"], "turns": [{"role": "user", "text": f'"{n}" {{['}], "output": f"{n}"}
    for n in range(40)
]
BREAKS = {
    "missing closing quote": ('"say 20"', '"say 20'),
    "missing opening quote": ('"say 20"', 'say 20"'),
    "missing key quote": ('"output": "20"', 'output": "20"'),
    "bare word": ('"say 20"', "say"),
    "extra bracket": ('"say 20"', '"say 20"}'),
    "wrong bracket": ('"say 20"', '["say 20"}'),
    "open bracket": ('"say 20"', '["say 20"'),
    "extra opening brace": ('"say 20"', '{"say 20"'),
    "extra comma": ('"say 20"', '"say 20",,'),
    "no colon": ('"instruction": "say 20"', '"instruction" "say 20"'),
    "quote inside": ('"say 20"', '"say "20" loud"'),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", BREAKS)
def test_one_broken_element_costs_no_other(tmp_path: Path, layout: str, name: str) -> None:
    good = LAYOUTS[layout](ROWS)
    old, new = BREAKS[name]
    if layout == "compact":
        old, new = old.replace(": ", ":"), new.replace(": ", ":")
    assert old in good
    (tmp_path / "a.json").write_text(good.replace(old, new))
    found, _ = read(tmp_path / "a.json", Limits(chunk_bytes=2000))
    kept = []
    for record in found:
        try:
            kept.append(json.loads(record.data))
        except ValueError:
            continue
    assert kept == [row for row in ROWS if row["instruction"] != "say 20"]
    assert len(found) == 40


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("missing", ["]", "}", '"20"'])
def test_a_missing_end_costs_one_record(tmp_path: Path, layout: str, missing: str) -> None:
    rows = [{"instruction": f"say {n}", "output": f"{n}"} for n in range(40)]
    good = LAYOUTS[layout](rows)
    at = good.rindex(missing) if missing == "]" else good.index(missing, good.index('"20"'))
    (tmp_path / "a.json").write_text(good[:at] + good[at + len(missing) :])
    found, info = read(tmp_path / "a.json", Limits(chunk_bytes=500))
    parsed = []
    for record in found:
        try:
            parsed.append(json.loads(record.data))
        except ValueError:
            continue
    assert [row for row in parsed if row["instruction"] != "say 20"] == [
        r for r in rows if r["instruction"] != "say 20"
    ]
    if missing == "]":
        assert [note.rule for note in info.notes] == ["json.unclosed-array"]


@pytest.mark.parametrize(
    ("text", "block"),
    [
        (b'["t","t", {"a":1}12 ', 14),
        (b'[{"a":"x"} {"a":1}12', 20),
        (b'[{"a":"x"}{"a":1}12 ', 14),
        (b'[{"a":1} {"a":1} 12}', 6),
        (b'[{"a":[1,{"b":2}]}12', 5),
    ],
)
def test_a_missing_comma_before_a_value_that_is_cut_off_is_no_crash(text: bytes, block: int) -> None:
    found, _ = split(text, block)
    assert [record.record for record in found] == list(range(len(found)))


@settings(max_examples=300)
@given(st.data())
def test_a_mutated_array_never_fails_and_never_repeats_a_byte(data: st.DataObject) -> None:
    text = bytearray(LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](ROWS[:12]).encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(text) - 1))
        change = data.draw(st.integers(0, 2))
        if change == 0:
            text[at] = data.draw(st.sampled_from(b'"{}[],:\\\n x\xff\0'))
        elif change == 1:
            del text[at : at + data.draw(st.integers(1, 30))]
        else:
            text[at:at] = text[at : at + data.draw(st.integers(1, 200))]
        if not text:
            return
    text[:1] = b"["
    found, scanner = split(bytes(text), data.draw(st.integers(1, 400)), Limits(chunk_bytes=300))
    end = 0
    for number, record in enumerate(found):
        assert record.record == number
        assert record.byte_offset >= end
        assert record.line == text.count(b"\n", 0, record.byte_offset) + 1
        end = record.byte_offset + len(record.data)
    assert end <= len(text)
    assert scanner.records == len(found)


@pytest.mark.parametrize(
    ("content", "rules"),
    [
        ("[]", ["bytes.empty"]),
        ("[ \n ]\n", ["bytes.empty"]),
        ('[{"a": 1},]', ["json.separator"]),
        ('[{"a": 1},', ["json.unclosed-array"]),
        ('[{"a": 1}', ["json.unclosed-array"]),
    ],
)
def test_what_is_wrong_with_the_array_itself_is_said_once(tmp_path: Path, content: str, rules: list[str]) -> None:
    (tmp_path / "a.json").write_text(content)
    _, info = read(tmp_path / "a.json")
    assert [note.rule for note in info.notes] == rules


@pytest.mark.parametrize("text", ['[{"a": 1} {"a": 2}]', '[{"a": 1},, {"a": 2}]', '[{"a": 1}{"a": 2}]'])
def test_a_wrong_comma_keeps_both_neighbours(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    found, _ = read(tmp_path / "a.json")
    assert [record.data for record in found] == [b'{"a": 1}', b'{"a": 2}']
    assert [[note.rule for note in record.notes] for record in found] == [[], ["json.separator"]]


def test_values_that_are_no_objects_are_records_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[1, "a, [b", {"x": 1}, null, [2, 3], -1.5e3, "c"]')
    found, _ = read(tmp_path / "a.json")
    assert [record.data for record in found] == [b"1", b'"a, [b"', b'{"x": 1}', b"null", b"[2, 3]", b"-1.5e3", b'"c"']


def test_a_long_array_of_numbers_needs_no_long_window(tmp_path: Path) -> None:
    data = json.dumps(list(range(3000))).encode()
    found, _ = split(data, 64, Limits(chunk_bytes=256, line_bytes=512))
    assert [int(record.data) for record in found] == list(range(3000))


def test_text_after_the_array_is_rejected_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[\n{"a": 1}]\n[{"b": 2}]\n')
    found, _ = read(tmp_path / "a.json")
    assert [(r.data, r.line, [n.rule for n in r.notes]) for r in found] == [
        (b'{"a": 1}', 2, []),
        (b'[{"b": 2}]', 3, ["json.after-array"]),
    ]


def test_a_value_over_the_limit_is_cut_and_its_neighbours_survive() -> None:
    data = b'[{"a": 1}, {"a": "' + b"x" * 5000 + b'"}, {"a": 2}, {"a": 3}]'
    found, _ = split(data, 128, Limits(chunk_bytes=256, line_bytes=1000, cut_bytes=20))
    assert [record.data for record in found] == [b'{"a": 1}', b'{"a": "' + b"x" * 13, b'{"a": 2}', b'{"a": 3}']
    assert [note.rule for note in found[1].notes] == ["bytes.line-too-long"]
    assert found[2].byte_offset == data.index(b'{"a": 2}')


def test_an_unterminated_array_of_one_giant_text_ends_in_bounded_memory() -> None:
    found, scanner = split(b'["' + b"x" * 200_000, 1000, Limits(chunk_bytes=4000, line_bytes=2000, cut_bytes=50))
    assert [len(record.data) for record in found] == [50]
    assert len(scanner._window.data) < 10_000


def test_hostile_runs_of_backslashes_and_blanks_stay_fast() -> None:
    data = b'[{"a": "' + b"\\" * 2_000_000 + b'", "b": ' + b" " * 2_000_000 + b'{"c": 1}}, {"a": 2}]'
    found, _ = split(data, 1 << 20, Limits())
    assert len(found) == 2


HOSTILE = [
    b'{"instruction":[', b'\\"', b'{"a":1', b'"\\', b'{"a":"', b'{"instruction":', b'{"a":{}}{', b'{"a":1},{"a"',
    b'{"a":1},{"a":[1,}', b'{"a":1},"b":{"a":1},', b'{"a":1},"b":', b'{"a":1\n', b'{"a":{"a":', b'}{"a":', b'[', b"{",
    b'{"a":[{"a":', b"{}", b",", b"1 ", b" ", b"\n", b'"', b"]}", b"\\", b"{   ", b'{"a":"b" "c"},', b'\\\n"',
]  # fmt: skip


@pytest.mark.parametrize("pattern", HOSTILE)
def test_time_grows_with_the_input_and_not_with_its_square(pattern: bytes) -> None:
    """512 KiB of each took from 20 s to hours where every look for the next record read all the rest."""
    for lead in (b"[", b'[{"a":1},\n'):
        times = []
        for size in (1 << 17, 1 << 19):
            data = lead + pattern * (size // len(pattern))
            gc.collect()
            gc.disable()  # a collection walks all that other tests of the process keep alive
            try:
                start = time.process_time()
                split(data, 1 << 18, DEFAULT)
                times.append(time.process_time() - start)
            finally:
                gc.enable()
        assert times[1] < 4 and times[1] < 8 * max(times[0], 0.05)  # four times the bytes


def test_a_text_with_commas_that_spans_two_reads_is_one_value() -> None:
    data = b'["' + b"ab, cd " * 100 + b'", 3, {"a":1}]'
    assert [record.data for record in split(data, 64)[0]] == [data[1:703], b"3", b'{"a":1}']


BEHIND = [",", " ,\n", "]", "x", "[]", '[{"a":2}]', ',[{"a":2}]', "\0", "{}", ":", '"', "[", "," * 600]


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("block", [1 << 18, 64])
def test_whatever_stands_behind_the_array_is_an_error_with_its_place(behind: str, block: int) -> None:
    found, _ = split(b'[{"a":1}\n]\n' + behind.encode(), block)
    assert found[0].data == b'{"a":1}' and not found[0].notes
    assert [note.rule for note in found[1].notes] == ["json.after-array"]
    assert found[1].line == 3
