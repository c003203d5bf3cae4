"""Whoever reads a manifest gets one that fits its schema, or an error that names the key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.errors import DataFault, UsageFault
from registry.kinds import STAGES
from schemas import load
from stages.core.manifest_document import changed, dump, parse_manifest, self_digest
from stages.pack import PACKERS
from tests.support.training import empty_manifest


@pytest.fixture
def manifest() -> dict[str, Any]:
    found = empty_manifest("lm")
    found["splits"] = {"train": {"rows": 0, "examples": 0, "tokens": 0, "trained_tokens": 0, "fill_rate": None,
                                 "shards": []}}  # fmt: skip
    found["sha256"] = self_digest(found)
    return found


def test_what_is_dumped_is_read_and_is_unchanged(manifest: dict[str, Any]) -> None:
    data = dump(manifest)
    assert parse_manifest(data, "m") == manifest
    assert changed(manifest, data) == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [("cutoff_len", "512"), ("inputs", "none"), ("ledger", []), ("run", {}), ("files", [{}]), ("stage", "sftt"),
     ("options", {"packing_strategy": "worst"}), ("cutoff_len", 3.0), ("cutoff_len", 10**30)],
)  # fmt: skip
def test_a_wrong_type_or_value_is_named_with_its_key(manifest: dict[str, Any], key: str, value: object) -> None:
    manifest[key] = value
    with pytest.raises(DataFault, match=f"m: not a manifest of prep .*/{key}"):
        parse_manifest(dump(manifest), "m")


def test_every_required_key_is_named_when_it_is_missing(manifest: dict[str, Any]) -> None:
    for key in load("manifest")["required"]:
        less = {name: value for name, value in manifest.items() if name != key}
        with pytest.raises((DataFault, UsageFault), match=key if key not in ("splits",) else "not a manifest"):
            parse_manifest(dump(less), "m")


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [("kind", "pref", "/kind"), ("stage", "dpo", "/kind"), ("cut", {"kind": "pt"}, "/cut/kind"),
     ("inputs", [{"path": "a", "source": "a", "split": "train", "format": "alpaca", "sha256": "", "bytes": 0,
                  "records": 0}], "/ledger/sources")],
)  # fmt: skip
def test_keys_that_contradict_each_other_are_named(manifest: dict[str, Any], key: str, value: Any, named: str) -> None:
    manifest[key] = manifest[key] | value if isinstance(value, dict) else value
    with pytest.raises(DataFault, match=named):
        parse_manifest(dump(manifest), "m")


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"[" * 100_000, b'{"splits": NaN}', b'{"splits": "\\ud800"}', b"null"]
)
def test_what_is_no_json_object_is_a_data_fault(data: bytes) -> None:
    with pytest.raises(DataFault, match=r"^m: not "):
        parse_manifest(data, "m")


def test_another_version_is_the_users_to_settle(manifest: dict[str, Any]) -> None:
    with pytest.raises(UsageFault, match="schema_version 2"):
        parse_manifest(dump(manifest | {"schema_version": 2}), "m")


def test_a_change_outside_of_run_shows_and_so_does_other_text_of_the_same_content(manifest: dict[str, Any]) -> None:
    assert changed(manifest | {"cutoff_len": 129}) == "has been changed"
    assert changed(manifest | {"sha256": "0" * 64}) == "has been changed"
    assert changed(manifest | {"run": {**manifest["run"], "finished": "later"}}) == ""
    assert "its text" in changed(manifest, json.dumps(manifest).encode())
    assert "its text" in changed(manifest, dump(manifest) + b"\n")


def test_the_schema_knows_the_stages_and_packers_of_the_tables() -> None:
    properties = load("manifest")["properties"]
    assert properties["stage"]["enum"] == list(STAGES)
    assert properties["options"]["properties"]["packing_strategy"]["enum"] == list(PACKERS)
