"""Every rule has a file that breaks it, and only it; valid files have no findings. New files are found unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.rules import rules
from stages.formats.detect import detect
from stages.formats.table import FORMATS
from stages.validate.schema import compiled
from tests.support import fixture_cases as cases

FIXTURES = Path(__file__).parents[2] / "fixtures"


VALID = list(cases.files(FIXTURES, "valid"))
INVALID = list(cases.files(FIXTURES, "invalid"))

# need a template, a tokenizer or a whole configuration: tests/scenarios/test_configured_fixtures.py
CONFIGURED = ("template.", "length.", "tools.parallel-calls", "tools.arguments-unwritable", "set.unused-split")
# what a repair changed: fixtures/repair; what a vendor refuses: fixtures/profiles; what cannot be written: test_convert
MADE = ("repair.", "profile.", "convert.")


def name_of(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.name}"


@pytest.mark.parametrize("path", VALID, ids=name_of)
def test_a_valid_file_has_no_findings(path: Path) -> None:
    assert cases.findings_of(path) == []


@pytest.mark.parametrize("path", INVALID, ids=name_of)
def test_an_invalid_file_breaks_exactly_the_rule_it_is_named_after(path: Path) -> None:
    expect = cases.expectation(path)
    assert path.name.startswith(expect["rule"] + "."), "the file's name is the rule"
    found = cases.findings_of(path)
    wanted = [item for item in found if item.rule == expect["rule"]]
    assert {item.rule for item in found} - set(expect.get("also", ())) == {expect["rule"]}
    first = wanted[0]
    got = {"line": first.line, "pointer": first.pointer, "severity": first.severity}
    assert got == {key: expect[key] for key in got}


def test_every_rule_has_a_file_that_breaks_it() -> None:
    shown = {cases.expectation(path)["rule"] for path in INVALID}
    missing = {rule for rule in rules() if not rule.startswith((*CONFIGURED, *MADE))} - shown
    assert missing == set()


def test_at_least_seventy_rules() -> None:
    assert len(rules()) >= 70


def test_every_rule_says_what_why_and_how_to_fix() -> None:
    for rule in rules().values():
        assert rule.meaning, rule.id
        assert rule.why, rule.id
        assert rule.hint, rule.id


def test_the_examples_in_the_table_are_among_the_fixtures() -> None:
    shown = {rule: [] for rule in rules()}
    for path in INVALID:
        if path.suffix == ".jsonl" and path.parent.parent.name in FORMATS:
            shown[cases.expectation(path)["rule"]] += map(json.loads, path.read_text(encoding="utf-8").splitlines())
    for rule in rules().values():
        if shown[rule.id] and rule.example:
            assert json.loads(rule.example) in shown[rule.id], rule.id


RECORDS = [path for path in (*VALID, *INVALID) if path.suffix == ".jsonl" and path.parent.parent.name in FORMATS]


@pytest.mark.parametrize("path", RECORDS, ids=name_of)
def test_the_reference_validator_agrees_with_the_fast_one(path: Path) -> None:
    """jsonschema and jsonschema-rs give the same verdict on every record of every fixture."""
    jsonschema = pytest.importorskip("jsonschema")
    form = FORMATS[path.parent.parent.name]
    checker = compiled(form.id, form.default_fields, form.kind)
    reference = jsonschema.Draft202012Validator(checker.schema)
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        assert checker.is_valid(record) == reference.is_valid(record)


@pytest.mark.parametrize("path", VALID, ids=name_of)
def test_the_format_of_a_valid_file_is_found_out(path: Path) -> None:
    found = detect(map(json.loads, path.read_text(encoding="utf-8").splitlines()))
    assert found.format == path.parent.parent.name
