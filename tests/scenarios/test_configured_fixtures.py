"""Rules that need a template, a tokenizer or a configuration: a file for each, and with them a file for every rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.rules import rules
from tests.support import configured_fixtures as configured

FOLDER = Path(__file__).parents[2] / "fixtures"
FILES = sorted((FOLDER / "configured" / "invalid").glob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_an_invalid_file_breaks_exactly_the_rule_it_is_named_after(path: Path, tmp_path: Path) -> None:
    expect = configured.expectation(path)
    code, found, said = configured.findings_of(path, tmp_path)
    assert {item["rule"] for item in found} - set(expect.get("also", ())) == {expect["rule"]}, said
    first = next(item for item in found if item["rule"] == expect["rule"])
    assert {key: first[key] for key in ("line", "pointer", "severity")} == {
        key: expect[key] for key in ("line", "pointer", "severity")
    }
    assert code == (1 if any(item["severity"] == "error" for item in found) else 0)


FILE_RULES = (
    "column-type", "container", "date-column", "few-records", "file-size", "format", "late-column", "many-records",
    "system-place",
)  # fmt: skip


def test_every_rule_of_the_table_has_a_file_that_breaks_it() -> None:
    shown = {json.loads(path.read_text(encoding="utf-8"))["rule"] for path in FOLDER.glob("*/invalid/*.expect.json")}
    # what a repair says stands in fixtures/repair, a file a repair; those of bytes are whole files, in test_fix.py
    shown |= {f"repair.{path.name.split('.')[0]}" for path in FOLDER.glob("repair/*.json")}
    # a vendor's rule stands in fixtures/profiles; those about a whole file (size, records, columns) in test_profiles.py
    shown |= {".".join(path.name.split(".")[:2]) for path in FOLDER.glob("profiles/*/*.expect.json")}
    of_files = {"repair.bom", "repair.crlf", "convert.cannot-write", *(f"profile.{name}" for name in FILE_RULES)}
    assert set(rules()) == shown | of_files
