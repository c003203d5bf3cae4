"""Findings are counted exactly, kept up to a cap of each rule, and have the severity of the policy."""

from __future__ import annotations

from registry.rules import Policy
from stages.core.collector import SAMPLES_PER_RULE, FindingCollector, Place, Tally
from stages.core.findings import Finding, Note
from stages.core.records import Record

NOTE = Note("text.control", "/output", "a control character", "\\x07", "leave it out")
PLACE = Place("a.jsonl", 3, 2, 40)


def test_a_note_gets_its_place_and_the_severity_of_the_policy() -> None:
    found = FindingCollector()
    found.note(NOTE, PLACE, Policy.make("sft", {"text.control": "error"}))
    want = Finding("text.control", "error", "a.jsonl", 3, 2, 40, "/output", NOTE.message, "leave it out", "\\x07")
    assert found.findings == [want]
    assert found.counts == {("text.control", "error"): 1}


def test_a_rule_that_is_off_says_nothing() -> None:
    found = FindingCollector()
    found.note(NOTE, PLACE, Policy.make("sft", {"text.control": "off"}))
    assert not found.findings
    assert not found.counts


def test_counts_stay_exact_beyond_the_cap() -> None:
    """Each rule has a cap of its own, whichever way its findings come."""
    found = FindingCollector()
    for line in range(SAMPLES_PER_RULE + 20):
        found.add(NOTE, Place("a.jsonl", line), "warning")
    other = FindingCollector()
    other.add(NOTE, Place("b.jsonl"), "warning")
    other.add(Note("bytes.crlf", "", "CR LF"), Place("b.jsonl"), "warning")
    found.merge(other.findings, other.counts)
    assert found.counts == {("text.control", "warning"): SAMPLES_PER_RULE + 21, ("bytes.crlf", "warning"): 1}
    assert [finding.line for finding in found.findings[:-1]] == list(range(SAMPLES_PER_RULE))
    assert found.findings[-1].rule == "bytes.crlf"


def test_a_reject_keeps_all_its_findings_and_the_first_error_is_its_rule() -> None:
    """Also those that the tally no longer keeps."""
    tally = Tally("a.jsonl", Policy.make("sft", {"text.control": "warning", "answer.empty": "error"}))
    for number in range(SAMPLES_PER_RULE + 1):
        assert tally.judge(Record(b"{}", number + 1, number, 3 * number), [NOTE, Note("answer.empty", "/output", "")])
    assert tally.rejected == {"answer.empty": SAMPLES_PER_RULE + 1}
    assert [finding.rule for finding in tally.rejects[-1].findings] == ["text.control", "answer.empty"]
    assert len(tally.findings) == 2 * SAMPLES_PER_RULE
