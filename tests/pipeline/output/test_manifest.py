"""A manifest says what it is, names its files, notices a change; and a folder is one of ours only with a mark of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.output.manifest import (
    CACHE,
    LOCK,
    MANIFEST,
    OWNER,
    dump,
    is_ours,
    is_output,
    lies_outside,
    listed_files,
    parse_manifest,
    self_digest,
    splits_of,
)
from registry.errors import DataFault, UsageFault
from tests.support.training import empty_manifest

_FILE = {"bytes": 3, "sha256": "0" * 64}
_SHARD = {**_FILE, "file": "train/a.arrow", "rows": 1, "tokens": 2, "lineage": {**_FILE, "file": "lineage/a.arrow"}}
_SPLIT = {"rows": 1, "examples": 1, "tokens": 2, "trained_tokens": 1, "fill_rate": None, "shards": [_SHARD]}
SMALL: dict[str, Any] = {
    **empty_manifest("lm"),
    "splits": {"train": _SPLIT},
    "files": [{**_FILE, "file": "README.md"}],
    "sha256": "0" * 64,
}


def test_what_is_written_is_read_again_with_every_file_it_names() -> None:
    manifest = parse_manifest(dump(SMALL), "OUT/manifest.json")
    assert manifest == SMALL
    assert set(listed_files(manifest)) == {"train/a.arrow", "lineage/a.arrow", "README.md"}


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"{", DataFault, "not valid JSON"),
        (b"\xff", DataFault, "not valid JSON"),
        (b"[]", DataFault, "not a manifest of prep"),
        (b'{"a": 1}', DataFault, "not a manifest of prep"),
        (b'{"splits": {}, "schema_version": 99}', UsageFault, "schema_version 99 is not the one"),
        (b'{"splits": {}}', UsageFault, "schema_version None"),
    ],
)
def test_what_is_no_manifest_of_this_version_is_refused_by_name(data: bytes, kind: type, says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        parse_manifest(data, "OUT/manifest.json")
    assert caught.value.problems[0].startswith("OUT/manifest.json: ") and caught.value.hint


def test_the_digest_is_of_the_content_and_not_of_the_run_that_made_it() -> None:
    digest = self_digest(SMALL)
    assert self_digest({**SMALL, "run": {"seconds": 9.9}, "sha256": digest}) == digest
    assert self_digest({**SMALL, "kind": "pt"}) != digest


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=5))
def test_equal_content_is_equal_bytes_in_whatever_order(content: dict[str, Any]) -> None:
    turned = dict(reversed(content.items()))
    assert dump(content) == dump(turned)
    assert json.loads(dump(content)) == content


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "train/../../x"])
def test_a_name_that_leads_out_of_the_output_is_noticed(name: str) -> None:
    assert lies_outside(name)
    assert not lies_outside("train/..a.arrow")


def test_a_folder_is_ours_by_its_mark_or_its_manifest(tmp_path: Path) -> None:
    assert not is_ours(tmp_path)
    (tmp_path / CACHE).mkdir()
    assert is_ours(tmp_path), "a run that ended before it left its mark"
    (tmp_path / CACHE / LOCK).touch()
    assert is_ours(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert not is_ours(tmp_path), "somebody's folder that happens to have a .cache"
    (tmp_path / CACHE / OWNER).touch()
    assert is_ours(tmp_path)


def test_anothers_manifest_json_does_not_make_a_folder_ours(tmp_path: Path) -> None:
    for text in ('{"name": "an app"}', "[1]", "no json"):
        (tmp_path / MANIFEST).write_text(text)
        assert not is_ours(tmp_path)
        assert splits_of(tmp_path) == frozenset()
    (tmp_path / MANIFEST).write_bytes(dump(SMALL))
    assert is_ours(tmp_path)
    assert splits_of(tmp_path) == {"train"}


def test_only_what_prep_writes_belongs_to_the_output() -> None:
    assert is_output(MANIFEST) and is_output("validation_a") and is_output("mine", frozenset({"mine"}))
    assert not is_output("mine") and not is_output("notes.txt")
