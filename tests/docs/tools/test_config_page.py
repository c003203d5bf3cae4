"""docs/config.md and schemas/config.json are made from the table of keys alone, and say of each what it is."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from docs.tools.config_page import config_markdown, config_schema, write
from pipeline.config.keys import keys, renames


def test_every_key_stands_in_one_section() -> None:
    """And every old name points at its new one."""
    text = config_markdown()
    for name in keys():
        assert text.count(f"\n| `{name}` |") == 1
    for old in renames().values():
        assert f"\n| `{old.name}` | `{old.to}` |" in text


def test_texts_cannot_break_the_table() -> None:
    """A row has the columns of its head: what would be a border is escaped, what would be a tag is text."""
    width = 0
    for line in config_markdown().splitlines():
        if line.startswith("|---"):
            width = line.count("|")
        elif line.startswith("| `"):
            assert line.replace("\\|", "").count("|") == width
            assert "<" not in line


def test_both_files_are_written(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    write(tmp_path)
    assert (tmp_path / "docs" / "config.md").read_text(encoding="utf-8") == config_markdown()
    assert json.loads((tmp_path / "schemas" / "config.json").read_text(encoding="utf-8")) == config_schema()


@pytest.mark.parametrize(
    ("values", "valid"),
    [
        ({"cutoff_len": 512, "packing": "yes", "learning_rate": "1e-4"}, True),
        ({"cutoff_len": "${LENGTH:-512}"}, True),
        ({"seed": None}, True),
        ({"cutof_len": 512}, False),
        ({"packing": "perhaps"}, False),
        ({"learning_rate": "fast"}, False),
    ],
)
def test_the_schema_takes_what_a_file_may_say(values: dict[str, object], valid: bool) -> None:
    assert jsonschema_rs.Draft202012Validator(config_schema()).is_valid(values) == valid
