"""Vendor profiles: what a vendor takes passes, what it refuses is named, at its place."""

from __future__ import annotations

import importlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline.cli import run
from registry.profiles import Profile, load_profile, profile_names
from registry.rules import rules
from stages.core.findings import Note
from stages.core.records import Chunk, FileInfo
from stages.formats.detect import detect
from stages.formats.table import FORMATS
from stages.parse.json_record import parse
from stages.readers.scan import records, scan
from stages.validate.vendor_profile import FileState, ProfileChecker, file_notes, shape_of, takes

FIXTURES = Path(__file__).parents[3] / "fixtures" / "profiles"
FILES = sorted(FIXTURES.glob("*/*.jsonl"))


def notes_of(profile: Profile, path: Path) -> list[tuple[int, Note]]:
    """(line, note) of a file; -1 for what is reported of the whole."""
    items = list(scan(str(path)))
    listed = [record for item in items if isinstance(item, Chunk) for record in records(item)]
    values: list[Any] = [parse(record.data, []) for record in listed]
    detection = detect(values)
    assert detection.format is not None
    assert detection.fields is not None
    checker = ProfileChecker(profile, detection.format, detection.fields)
    state = FileState()
    found = []
    for record, value in zip(listed, values, strict=True):
        state.add(value, record.record, record.byte_offset)
        found += [(record.line, note) for note in checker.notes(value)]
    info = next(item for item in items if isinstance(item, FileInfo))
    shape = shape_of(detection.format, detection.fields)
    return found + [(-1, note) for note in file_notes(profile, shape, str(path), info, state)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_has_the_verdict_that_its_name_says(path: Path) -> None:
    """fixtures/profiles/<vendor>/valid.jsonl, or <rule>[.<variant>].jsonl with the place beside it."""
    found = notes_of(load_profile(path.parent.name), path)
    if path.stem == "valid":
        assert found == []
        return
    expect = json.loads(path.with_name(f"{path.stem}.expect.json").read_text())
    assert {note.rule for _, note in found} == {".".join(path.stem.split(".")[:2])}
    assert (found[0][0], found[0][1].pointer) == (expect["line"], expect["pointer"])


PROFILE = Profile("x", "X", "", "", formats=("openai",))
INFO = FileInfo("a.jsonl", "", 100, 5, "jsonl")


@pytest.mark.parametrize(
    ("limits", "path", "info", "rule"),
    [
        ({"max_bytes": 99}, "a.jsonl", INFO, "profile.file-size"),
        ({"max_records": 4}, "a.jsonl", INFO, "profile.many-records"),
        ({"min_records": 6}, "a.jsonl", INFO, "profile.few-records"),
        ({"endings": (".jsonl",)}, "a.JSONL", INFO, "profile.container"),
        ({"endings": (".jsonl",)}, "a.jsonl.gz", INFO, "profile.container"),
        ({"containers": ("jsonl",)}, "a.jsonl", INFO._replace(container="array"), "profile.container"),
        ({"formats": ("alpaca",)}, "a.jsonl", INFO, "profile.format"),
    ],
)
def test_limits_of_a_file(limits: dict[str, Any], path: str, info: FileInfo, rule: str) -> None:
    """Size, number, name and kind."""
    assert file_notes(PROFILE, "openai", path, info, FileState()) == []
    assert [note.rule for note in file_notes(replace(PROFILE, **limits), "openai", path, info, FileState())] == [rule]


def test_a_system_message_has_its_place() -> None:
    """Also where prep itself would not have read the record."""
    checker = ProfileChecker(replace(PROFILE, system="first"), "openai", FORMATS["openai"].default_fields)
    messages = [{"role": "user", "content": "Hi"}, {"role": "system", "content": "x"}]
    assert [note.rule for note in checker.notes({"messages": messages})] == ["profile.system-place"]


def test_columns_are_remembered_over_chunks() -> None:
    """The first record of each type, the first place, and whether all texts are dates."""
    first, later = FileState(), FileState()
    first.add({"a": 1, "d": "2024-01-01", "n": None}, 0, 0)
    later.add({"a": "x", "d": "2024-01-02", "n": "late"}, 7, 20 << 20)
    merged = first.merge(later)
    profile = replace(PROFILE, uniform_columns=True, early_columns=10 << 20, dates=False)
    found = file_notes(profile, "openai", "a.jsonl", INFO, merged)
    assert [(note.rule, note.pointer) for note in found] == [
        ("profile.column-type", "/a"), ("profile.date-column", "/d"), ("profile.late-column", "/n"),
    ]  # fmt: skip
    assert "string (record 7)" in found[0].message


def test_openai_records_mapped_as_sharegpt_are_openai_records() -> None:
    """LLaMA-Factory declares them so; a vendor sees the keys."""
    sharegpt, openai = FORMATS["sharegpt"].default_fields, FORMATS["openai"].default_fields
    assert shape_of("sharegpt-kto", openai) == "openai-kto"
    assert shape_of("sharegpt", sharegpt) == "sharegpt"
    assert shape_of("openai", replace(openai, messages="dialog")) == "sharegpt"


def test_every_rule_of_the_area_is_broken_somewhere() -> None:
    """By a file, or by one of the tests above."""
    here = {f"profile.{name}" for name in ("file-size", "many-records", "container", "system-place", "late-column")}
    shown = {".".join(path.stem.split(".")[:2]) for path in FILES if path.stem != "valid"}
    assert shown | here == {rule for rule in rules() if rule.startswith("profile.")}


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_has_a_file_that_passes(name: str) -> None:
    """So that a check that refuses everything is seen."""
    assert (FIXTURES / name / "valid.jsonl").exists()


# --- against the vendors' own packages --------------------------------------------------------------------------------

TRL_KEYS = ("messages", "prompt", "completion", "chosen", "rejected", "label")


def record_of(keys: Iterable[str]) -> dict[str, Any]:
    ask, reply = [{"role": "user", "content": "Hi"}], [{"role": "assistant", "content": "Ho"}]
    values = {"messages": ask + reply, "prompt": ask, "completion": reply, "chosen": reply, "rejected": reply}
    return {key: values.get(key, True) for key in keys}


@pytest.mark.parametrize("keys", [keys for count in range(1, 5) for keys in itertools.combinations(TRL_KEYS, count)])
def test_trl_itself_takes_the_keys_that_its_profile_takes(keys: tuple[str, ...]) -> None:
    """`apply_chat_template` of the installed TRL says which keys may stand together."""
    apply = pytest.importorskip("trl.data_utils").apply_chat_template

    class Processing:
        chat_template = ""

        def apply_chat_template(self, messages: Any, **_: object) -> str:
            return "".join(message["content"] for message in messages)

    try:
        apply(record_of(keys), Processing())
        refused = False
    except KeyError as error:
        refused = "Invalid keys" in str(error)
    assert takes(load_profile("trl"), "openai", keys) != refused


def test_together_itself_lists_the_keys_that_its_profile_takes() -> None:
    pytest.importorskip("together")
    constants = _module("together.lib.constants") or _module("together.constants")
    required = getattr(constants, "JSONL_REQUIRED_COLUMNS_MAP", None)
    if required is None:
        pytest.skip("this release has no list of required columns")
    theirs = {frozenset(columns) for columns in required.values() if "preferred_output" not in columns}
    assert theirs == {frozenset(names) for names in load_profile("together").key_sets}


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@pytest.mark.parametrize("vendor", ["trl", "together"])
@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Hi", "completion": "Ho"}, {"instruction": "Hi", "output": "Ho"},
        {"prompt": "Hi", "chosen": "Ho", "rejected": "No"}, {"instruction": "Hi", "chosen": "Ho", "rejected": "No"},
        {"instruction": "Hi", "output": "Ho", "kto_tag": True}, record_of(["messages", "label"]),
    ],
)  # fmt: skip
def test_a_conversion_that_a_profile_names_works_and_loses_no_answer(
    vendor: str, record: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text((json.dumps(record) + "\n") * 3)
    run(["validate", str(path), "--profile", vendor, "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    hint = next((item["hint"] for item in found if item["rule"] == "profile.format"), "")
    if not hint.startswith("prep convert"):
        return
    _, _, pair, *_ = hint.split()
    out = tmp_path / "b.jsonl"
    assert run(["convert", pair, str(path), "-o", str(out)]) == 0
    assert "Ho" in out.read_text() and ("No" in out.read_text() or "rejected" not in record)
    capsys.readouterr()
    run(["validate", str(out), "--profile", vendor, "--json"])
    assert "profile.format" not in json.loads(capsys.readouterr().out)["counts"]
