"""Cells as values: only where a field of the record is no text, and only when the cell spells one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from stages.core.records import Chunk
from stages.formats.table import FORMATS
from stages.readers.cell_values import spelled, with_values
from stages.readers.scan import records, scan

KTO = FORMATS["alpaca-kto"].default_fields


def read(name: str, text: str) -> Any:
    """The value of one cell of a KTO record."""
    row = orjson.dumps({name: text, "instruction": text})
    found = orjson.loads(with_values(row, spelled(KTO)))
    assert found["instruction"] == text
    return found[name]


@pytest.mark.parametrize("text", ["true", "TRUE", "True", " true "])
def test_a_label_is_true_as_json_python_and_excel_write_it(text: str) -> None:
    assert read("kto_tag", text) is True
    assert (
        read("kto_tag", text.replace("rue", "alse").replace("RUE", "ALSE").replace("t", "f").replace("T", "F")) is False
    )


@pytest.mark.parametrize("text", ["", "1", "yes", "null", "[]", "tru", '"true"'])
def test_what_is_no_label_stays_a_text(text: str) -> None:
    """It is then rejected, by its own rule."""
    assert read("kto_tag", text) == text


def test_history_is_a_list_of_pairs() -> None:
    assert read("history", '[["q", "a"]]') == [["q", "a"]]
    assert read("history", "[]") == []


@pytest.mark.parametrize("text", ["", " ", "null"])
def test_an_empty_history_is_none(text: str) -> None:
    """Tools that put every cell into quotes have no other way to say so."""
    assert read("history", text) is None


@pytest.mark.parametrize("text", ["[['q', 'a']]", '{"q": "a"}', "[", "as told", "[" * 5000])
def test_what_is_no_list_stays_a_text(text: str) -> None:
    assert read("history", text) == text


def test_media_are_a_list_or_one_path() -> None:
    assert read("images", '["a.png", "b.png"]') == ["a.png", "b.png"]
    for text in ("a.png", "[draft].png", "", "null", '"a.png"'):
        assert read("images", text) == text


def test_a_key_that_is_mapped_twice_stays_a_text() -> None:
    fields = FORMATS["alpaca"].default_fields.__class__(prompt="x", history="x", images="y", response="z")
    assert list(spelled(fields)) == ["y"]


def test_a_bad_row_is_left_alone(tmp_path: Path) -> None:
    """Its bytes are no JSON, and are kept as they are for the rejects."""
    (tmp_path / "a.csv").write_text("instruction,output,kto_tag\nq,a\nq,a,TRUE\n")
    (chunk,) = (item for item in scan(str(tmp_path / "a.csv")) if isinstance(item, Chunk))
    bad, good = records(chunk, fields=KTO)
    assert (bad.data, [note.rule for note in bad.notes]) == (b"q,a", ["table.ragged-row"])
    assert orjson.loads(good.data) == {"instruction": "q", "output": "a", "kto_tag": True}


def test_without_a_map_every_cell_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("instruction,kto_tag\n[],TRUE\n")
    (chunk,) = (item for item in scan(str(tmp_path / "a.csv")) if isinstance(item, Chunk))
    assert [orjson.loads(record.data) for record in records(chunk)] == [{"instruction": "[]", "kto_tag": "TRUE"}]
