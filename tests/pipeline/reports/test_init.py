"""Every reporter says the same result, safely, in its own words."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from pipeline.reports import REPORTS, reporter
from registry.rules import rules
from tests.support.reports import HOSTILE, finding, report


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_a_finding_without_a_hint_of_its_own_carries_its_rules_hint(name: str) -> None:
    """A program that reads the JSON learns as much as a person who reads the text."""
    made = report(finding(), finding("answer.empty", hint="this one"), finding("no.such-rule"))
    text = reporter(name)(made)
    found = json.loads(text)["findings"] if name == "json" else [json.loads(line) for line in text.splitlines()]
    assert [item["hint"] for item in found] == [rules()["role.unknown"].hint, "this one", ""]


def test_junit_and_sarif_name_the_hint_of_each_rule() -> None:
    hint = rules()["role.unknown"].hint
    tree = ElementTree.fromstring(reporter("junit")(report(finding(hint="or this"))))
    said = next(tree.iter("failure")).text or ""
    assert said.splitlines()[-2:] == ["hint: or this", f"hint: {hint}"]
    log = json.loads(reporter("sarif")(report(finding())))
    assert log["runs"][0]["tool"]["driver"]["rules"][0]["help"]["text"] == hint


@pytest.mark.parametrize("name", REPORTS)
def test_hostile_values_reach_no_terminal_page_or_document(name: str) -> None:
    bad = finding(path=HOSTILE, pointer="/" + HOSTILE, message=HOSTILE, hint=HOSTILE, value="x")
    out = reporter(name)(report(bad))
    assert "\x1b" not in out
    if name != "jsonl" and name != "json":
        assert "\u202e" not in out
    if name in ("html", "junit"):
        assert "<script" not in out


@pytest.mark.parametrize("name", REPORTS)
def test_a_file_name_that_is_not_utf8_can_be_reported(name: str) -> None:
    reporter(name)(report(finding(path="bad\udcffname.jsonl"))).encode()


@pytest.mark.parametrize("name", REPORTS)
def test_nothing_found_is_a_report_too(name: str) -> None:
    reporter(name)(report())


def test_an_unknown_reporter_is_refused() -> None:
    with pytest.raises(KeyError):
        reporter("xml")
