"""The window on a JSON file: what is handed on is let go, and records are known by how they begin."""

from __future__ import annotations

from stages.core.records import Limits
from stages.readers.json_array.window import RecordStarts, Window


def test_bytes_are_held_until_they_are_handed_on() -> None:
    window = Window(iter([b'{"a": 1},\n', b'{"a": 2}']), Limits(), start=5)
    assert window.more()
    while window.more():
        pass
    assert window.data == b'{"a": 1},\n{"a": 2}'
    window.skip(10)
    assert (window.offset, window.line, window.held) == (15, 2, 8)
    assert window.ended


def test_an_empty_file_ends_at_once() -> None:
    window = Window(iter([]), Limits(), start=0)
    assert not window.more()
    assert window.ended
    assert window.held == 0


def test_records_are_looked_for_by_the_key_they_begin_with() -> None:
    """Where the bytes stop being JSON, the next record is found by what those before it have in common."""
    starts = RecordStarts()
    data = b'[{"instruction": "a"}, {"instruction": "b"}]'
    starts.learn(data, 1, [1, 21, 23, 43], due=False)
    found = starts.pattern().search(b'x"} ] , {"other": 1}, {"instruction": "c"}')
    assert found is not None
    assert found[0].endswith(b'{"instruction":') or b'"instruction"' in found[0]
