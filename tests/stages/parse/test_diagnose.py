"""Each fault of a record is named with its place, and with the remedy where one is plain to see."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.rules import rules
from stages.parse.diagnose import NOTES_LIMIT, doubled_keys, reason, wide_integers


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'  {"a" 1}', "at column 8"),
        (b'{"a": 1}\n{"b"', "a second value starts at column 10"),
        (b'{"a": 1} // note', "text after the value at column 10"),
        (b'{"a": "\xff"}', "byte 0xff at offset 7 is not UTF-8"),
        (b'{"a": "x\0y"}', "a NUL byte at offset 8"),
        (b"\0" * 7, "7 NUL bytes where a record should be"),
        (b'{"a": 1}\0\0\0', "a run of 3 NUL bytes"),
        (b' "\\ud83d"', "half a surrogate pair, \\ud83d"),
        (b" \t", "the record is empty"),
    ],
)
def test_a_fault_says_where_it_is(data: bytes, message: str) -> None:
    note = reason(data)
    assert message in note.message
    assert note.rule in rules()


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"{'a': 1}", "looks like Python's repr"),
        (b'{"a": True}', "lower case in JSON"),
        (b'{"a": 1,}', "remove the comma before the closing bracket"),
        (b'{"a": 1},', "remove the comma at the end of the line"),
        (b'{"a": "x\ty"}', "are written \\n and \\t"),
        ('{"a": "un café"}'.encode("cp1252"), "iconv -f WINDOWS-1252"),
    ],
)
def test_a_usual_mistake_has_its_remedy(data: bytes, hint: str) -> None:
    assert hint in reason(data).hint


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:\\ tfn0e-.\0', max_size=20).map(str.encode))
def test_whatever_orjson_refuses_has_a_short_printable_reason(data: bytes) -> None:
    try:
        orjson.loads(data)
    except ValueError:
        note = reason(data)
        assert note.rule in rules()
        assert note.message.isprintable()
        assert len(note.message) <= 200
        assert len(note.value) <= 80


def test_nesting_without_end_is_named_and_ends() -> None:
    assert reason(b"[" * 100_000).rule == "json.depth"


def test_a_key_that_stands_twice_is_named_at_each_place_with_the_value_that_counts() -> None:
    notes = doubled_keys(b'{"x": [{"a": 1, "a": 2}], "x~/": {"b": 1, "b": 3, "c": 4}}')
    assert [(note.pointer, note.value) for note in notes] == [("/x/0/a", "2"), ("/x~0~1/b", "3")]


def test_integers_of_64_bits_are_left_alone_and_wider_ones_named() -> None:
    document = {"least": -(2**63), "most": 2**64 - 1, "over": [2**64], "under": -(2**63) - 1, "text": "9" * 30}
    notes = wide_integers(json.dumps(document).encode())
    assert [(note.pointer, note.value) for note in notes] == [("/over/0", str(2**64)), ("/under", str(-(2**63) - 1))]


def test_a_hostile_record_gives_a_handful_of_notes() -> None:
    assert len(wide_integers(json.dumps([2**70] * 500).encode())) == NOTES_LIMIT
    doubled = ",".join(f'"k{number // 2}": 1' for number in range(500))
    assert len(doubled_keys(f"{{{doubled}}}".encode())) == NOTES_LIMIT


def test_data_that_is_no_json_is_not_searched_for_doubled_keys() -> None:
    with pytest.raises(json.JSONDecodeError):
        doubled_keys(b'{"a": 1, "a"')
