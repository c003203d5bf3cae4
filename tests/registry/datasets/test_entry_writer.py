"""The entry that prep writes for a file is read back as the same format and map."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.datasets import resolve
from registry.datasets.entry_writer import entry_name, entry_of, merged_info
from registry.datasets.info_file import COLUMNS
from registry.errors import UsageFault
from stages.formats.table import FORMATS

STAGES = {"sft": "sft", "pref": "dpo", "kto": "kto", "pt": "pt"}


@pytest.mark.parametrize("format_id", sorted(FORMATS))
def test_an_entry_is_read_back_as_what_was_written(format_id: str, tmp_path: Path) -> None:
    """Format and every column that the records have."""
    form = FORMATS[format_id]
    fields = form.default_fields
    keys = [key for name, key in vars(fields).items() if key and not name.endswith("_tag")] + [str(fields.kto_tag)]
    calls = form.family == "openai"
    entry = entry_of(form.family, fields, form.kind, "x.jsonl", keys, calls=calls)
    path, content = merged_info(str(tmp_path), "x", entry)
    Path(path).write_bytes(content)
    (tmp_path / "x.jsonl").write_text("{}\n")
    (data,) = resolve("x", str(tmp_path), stage=STAGES[form.kind])
    assert data.fields is not None
    written = vars(fields) if form.family in ("sharegpt", "openai") else {name: vars(fields)[name] for name in COLUMNS}
    assert {name: vars(data.fields)[name] for name in written} == written
    assert data.format == format_id


def test_a_column_that_no_record_has_is_left_out() -> None:
    """LLaMA-Factory ends with a KeyError on one."""
    fields = FORMATS["alpaca"].default_fields
    entry = entry_of("alpaca", fields, "sft", "x.json", ["instruction", "output"], calls=False)
    assert entry["columns"] == {"prompt": "instruction", "response": "output"}


def test_openai_records_without_calls_are_declared_as_sharegpt() -> None:
    """LLaMA-Factory's reader for `openai` would add to every system prompt."""
    fields = FORMATS["openai"].default_fields
    entry = entry_of("openai", fields, "sft", "x.json", ["messages"], calls=False)
    assert entry["formatting"] == "sharegpt"
    assert entry["tags"]["user_tag"] == "user"  # type: ignore[index]


def test_other_entries_stay(tmp_path: Path) -> None:
    """Only the entry of this file changes; one of another file is not taken."""
    info = tmp_path / "dataset_info.json"
    info.write_text(json.dumps({"old": {"file_name": "o.json"}, "x": {"file_name": "x.jsonl", "num_samples": 3}}))
    _, content = merged_info(str(tmp_path), "x", {"file_name": "x.jsonl"})
    assert json.loads(content) == {"old": {"file_name": "o.json"}, "x": {"file_name": "x.jsonl"}}
    with pytest.raises(UsageFault, match="there already"):
        merged_info(str(tmp_path), "old", {"file_name": "x.jsonl"})


def test_an_entry_is_named_after_its_file() -> None:
    """Without the folder and the endings."""
    assert entry_name("a/b/chats.jsonl.gz") == "chats"
