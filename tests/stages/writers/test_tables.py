"""Columns: what is written to a table is what prep reads from it, or said to be something else."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.rules import Policy
from stages.core.records import Chunk, FileInfo
from stages.formats.table import FORMATS
from stages.readers.scan import records, scan
from stages.validate.record import RecordValidator
from stages.writers.records import open_rows

NASTY = st.sampled_from(
    ["", "true", "FALSE", "[]", '[["q", "a"]]', "null", "7", "007", "=1+1", "-1", "a,b", '"', '""', "\n", "\r", "\r\n",
     " x ", "\t", "\ufeffx", "\x00", "NA", "{}", "'", ";", "\u2028"]
)  # fmt: skip
TEXTS = st.one_of(NASTY, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
MEDIA = st.lists(TEXTS, max_size=2)
OPTIONAL = {
    "input": TEXTS, "system": TEXTS, "tools": TEXTS, "history": st.lists(st.lists(TEXTS, min_size=2, max_size=2)),
    "images": MEDIA, "audios": MEDIA, "id": TEXTS,
}  # fmt: skip
RECORDS = {
    "alpaca": st.fixed_dictionaries({"instruction": TEXTS, "output": TEXTS}, optional=OPTIONAL),
    "alpaca-dpo": st.fixed_dictionaries({"instruction": TEXTS, "chosen": TEXTS, "rejected": TEXTS}, optional=OPTIONAL),
    "alpaca-kto": st.fixed_dictionaries(
        {"instruction": TEXTS, "output": TEXTS, "kto_tag": st.booleans()}, optional=OPTIONAL
    ),
    "pretrain": st.fixed_dictionaries({"text": TEXTS}, optional={"id": TEXTS, "history": TEXTS}),
}


def there_and_back(name: str, form: str, rows: list[dict[str, Any]], folder: str) -> tuple[list[Any], dict[str, Any]]:
    """The rows as our reader gives them, and what the container says it changed."""
    path = Path(folder) / name
    fields = FORMATS[form].default_fields
    with open_rows(path, fields=fields) as sink:
        sink.add(b"\n".join(map(orjson.dumps, rows)), len(rows))
        sink.finish()
    *chunks, info = scan(str(path))
    assert isinstance(info, FileInfo)
    assert not info.notes
    found = [record for chunk in chunks if isinstance(chunk, Chunk) for record in records(chunk, fields=fields)]
    return [orjson.loads(record.data) for record in found], sink.changed


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet"])
@pytest.mark.parametrize("form", RECORDS)
@settings(max_examples=30)
@given(data=st.data())
def test_records_come_back_from_every_table_they_may_be_written_to(name: str, form: str, data: st.DataObject) -> None:
    """Texts, lists and labels exactly; a field that only other records have is null, and that is counted."""
    rows = data.draw(st.lists(RECORDS[form], min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        found, changed = there_and_back(name, form, rows, folder)
    keys = {key for row in rows for key in row}
    assert found == [{**dict.fromkeys(keys), **row} for row in rows]
    lacking = {key: sum(key not in row for row in rows) for key in keys}
    said = {key: counts.get("missing to null", 0) for key, counts in changed.items()}
    assert {key: count for key, count in lacking.items() if count} == {
        key: count for key, count in said.items() if count
    }
    assert {what for counts in changed.values() for what in counts} <= {"missing to null", "as JSON text"}


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("ab"), inner)),
    max_leaves=4,
)


@settings(max_examples=100)
@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("instruction", "history", "images", "id"), VALUES))))
def test_a_csv_file_that_counts_no_change_has_none(rows: list[dict[str, Any]]) -> None:
    """Whatever the values are, those of a wrong type included: what does not come back is counted."""
    rows = [{"output": "a", **row} for row in rows] or [{"output": "a"}]
    with tempfile.TemporaryDirectory() as folder:
        found, changed = there_and_back("x.csv", "alpaca", rows, folder)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    for key in keys:
        differ = [back[key] for row, back in zip(rows, found, strict=True) if back[key] != row.get(key)]
        counts = changed.get(key, {})
        assert len(differ) == sum(counts.get(what, 0) for what in ("to JSON text", "text to what it spells"))
        assert counts.get("missing to null", 0) == sum(key not in row for row in rows)


def test_a_label_in_a_csv_file_is_kept(tmp_path: Path) -> None:
    """A file of labels that prep wrote was rejected whole, its labels being texts."""
    rows = [{"instruction": "q", "output": "a", "kto_tag": label} for label in (True, False)]
    found, changed = there_and_back("x.csv", "alpaca-kto", rows, str(tmp_path))
    check = RecordValidator("alpaca-kto", FORMATS["alpaca-kto"].default_fields, "kto", Policy()).check
    assert found == rows
    assert not changed
    assert all(check(row, []) is not None for row in found)


def test_a_parquet_column_of_another_writer_stays_text(tmp_path: Path) -> None:
    """Only prep's own mark makes values of a text, and never out of what is no JSON."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    marked = pa.field("marked", pa.string(), metadata={"prep.json": "1"})
    table = pa.table(
        {"plain": ["[1]", "{}"], "marked": ["[1]", "{"]}, schema=pa.schema([("plain", pa.string()), marked])
    )
    pq.write_table(table, tmp_path / "x.parquet")
    found = [
        orjson.loads(record.data)
        for chunk in scan(str(tmp_path / "x.parquet"))
        if isinstance(chunk, Chunk)
        for record in records(chunk)
    ]
    assert found == [{"plain": "[1]", "marked": [1]}, {"plain": "{}", "marked": "{"}]
