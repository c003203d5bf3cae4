"""The JSON document is the contract's, key by key."""

from __future__ import annotations

import json

from pipeline.reports import reporter
from pipeline.reports.json_ import write
from tests.support.reports import finding, report


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


def test_what_was_counted_and_not_shown_is_in_the_counts() -> None:
    document = json.loads(write(report(finding(), counts={("role.unknown", "error"): 500})))
    assert (len(document["findings"]), document["counts"]["role.unknown"]) == (1, 500)


def test_one_document_ends_with_a_line_end_and_findings_keep_their_order() -> None:
    text = write(report(finding("tools.unknown-call", line=9), finding("answer.empty", line=3)))
    assert text.endswith("}\n") and not text.endswith("\n\n")
    assert [item["line"] for item in json.loads(text)["findings"]] == [9, 3]
