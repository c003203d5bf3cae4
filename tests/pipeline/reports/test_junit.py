"""JUnit XML that build servers read: a failure for an error, a passing case for a warning."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from pipeline.reports import reporter
from pipeline.reports.junit import write
from tests.support.reports import HOSTILE, finding, report


def test_junit_fails_exactly_for_errors() -> None:
    tree = ElementTree.fromstring(reporter("junit")(report(finding(), finding("prompt.empty", "warning"))))
    assert tree.attrib["failures"] == "1"
    cases = {case.attrib["name"]: case for case in tree.iter("testcase")}
    assert cases["role.unknown"].find("failure") is not None
    assert cases["prompt.empty"].find("failure") is None


def test_every_file_is_a_suite_and_one_without_findings_passes() -> None:
    tree = ElementTree.fromstring(write(report()))
    (suite,) = tree.iter("testsuite")
    assert (suite.attrib["name"], suite.attrib["tests"], suite.attrib["failures"]) == ("data/train set.jsonl", "1", "0")
    assert {item.attrib["name"]: item.attrib["value"] for item in suite.iter("property")}["rejected"] == "12"


def test_a_finding_in_a_file_that_is_no_input_has_a_suite_of_its_own() -> None:
    tree = ElementTree.fromstring(write(report(finding(), finding(path="other.jsonl"))))
    assert [suite.attrib["name"] for suite in tree.iter("testsuite")] == ["data/train set.jsonl", "other.jsonl"]
    assert (tree.attrib["tests"], tree.attrib["failures"]) == ("2", "2")


def test_characters_that_xml_cannot_hold_do_not_break_the_document() -> None:
    bad = finding(message=f"\x00\x0b{HOSTILE}\nsecond line", path=HOSTILE)
    tree = ElementTree.fromstring(write(report(bad)))
    (failure,) = tree.iter("failure")
    assert "<script>" in (failure.text or ""), "escaped, so a reader sees it as text"
    assert "\x1b" not in (failure.text or "")
