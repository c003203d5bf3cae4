"""The closing summary of `prep convert`: what it says of the file that was written holds when that file is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run

SAME = "nothing: converting back gives the same records"


def chat(*texts: str, **more: Any) -> dict[str, Any]:
    """A ShareGPT record of these turns."""
    turns = [{"from": ("human", "gpt")[at % 2], "value": text} for at, text in enumerate(texts)]
    return {"conversations": turns, **more}


def there_and_back(tmp_path: Path, kinds: tuple[str, str], records: list[Any], ending: str) -> list[Any]:
    """The records after a conversion through a file of this kind."""
    source, table, back = tmp_path / "in.jsonl", tmp_path / f"out{ending}", tmp_path / "back.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert run(["convert", "--from", kinds[0], "--to", kinds[1], str(source), "-o", str(table)]) == 0
    assert run(["convert", "--from", kinds[1], "--to", kinds[0], str(table), "-o", str(back), "--quiet"]) == 0
    return [json.loads(line) for line in back.read_text().splitlines()]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_labels_survive_the_way_through_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """What prep writes with "nothing lost" is what it reads: 20 of 20 labels were refused once."""
    records = [chat(f"q {at}", 'a, "b"\n=1', label=bool(at % 2)) for at in range(20)]
    assert there_and_back(tmp_path, ("sharegpt-kto", "alpaca-kto"), records, ending) == records
    assert SAME in capsys.readouterr().out
    assert run(["validate", str(tmp_path / f"out{ending}")]) == 0


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_turns_survive_the_way_through_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    """Conversations of several turns, which alpaca keeps as history."""
    records = [chat("q", "a", "q2", f"a{at}", id=str(at)) for at in range(3)]
    assert there_and_back(tmp_path, ("sharegpt", "alpaca"), records, ending) == records
    assert SAME in capsys.readouterr().out


def test_a_field_that_only_some_records_have_is_no_proof_of_sameness(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file has one cell for "missing" and for "null", and the summary says so."""
    records = [chat("q", "a"), chat("q", "a", "q2", "a2", id="x")]
    back = there_and_back(tmp_path, ("sharegpt", "alpaca"), records, ".csv")
    assert back == [{**records[0], "id": None}, records[1]]
    said = capsys.readouterr().out
    assert SAME not in said
    assert "nothing, but fields that a record lacks come back as null" in said


def test_a_number_in_a_csv_file_is_said_to_become_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    back = there_and_back(tmp_path, ("sharegpt", "alpaca"), [chat("q", "a", id=7)], ".csv")
    assert back == [chat("q", "a", id="7")]
    said = capsys.readouterr().out
    assert SAME not in said
    assert "id: 1 to JSON text" in said
