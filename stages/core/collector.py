"""Counting what happens to records: the only place where a note becomes a finding and a record is counted out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from registry.rules import Policy

from .findings import Finding, Note
from .records import Record

SAMPLES_PER_RULE = 100  # findings kept of each rule; counts are exact whatever this is


class Place(NamedTuple):
    """Where something was found. line is 1-based, record 0-based; -1 is unknown, as for a whole file."""

    path: str
    line: int = -1
    record: int = -1
    byte_offset: int = -1


class FindingCollector:
    """Findings in the order in which they come, with exact counts.

    counts: by (rule, severity). findings: the first SAMPLES_PER_RULE of each rule.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.findings: list[Finding] = []
        self._kept_of_rule: Counter[str] = Counter()

    def note(self, note: Note, place: Place, policy: Policy) -> None:
        """Takes a note with the severity that the policy gives it; a note whose rule is off is dropped.

        Args:
            note: What is wrong.
            place: Where it is.
            policy: Severities of this run.
        """
        severity = policy.severity(note.rule)
        if severity != "off":
            self.add(note, place, severity)

    def add(self, note: Note, place: Place, severity: str) -> Finding:
        """Takes a note with a given severity, whatever a policy says.

        Args:
            note: What is wrong.
            place: Where it is.
            severity: error | warning.

        Returns:
            The finding, which is counted even where the cap of its rule keeps it out of `findings`.
        """
        finding = Finding(note.rule, severity, *place, note.pointer, note.message, note.hint, note.value)
        self.counts[note.rule, severity] += 1
        self._keep(finding)
        return finding

    def merge(self, findings: Iterable[Finding], counts: Mapping[tuple[str, str], int]) -> None:
        """Takes what another collector has: its findings up to the cap of each rule, and its counts as they are."""
        self.counts.update(counts)
        for finding in findings:
            self._keep(finding)

    def _keep(self, finding: Finding) -> None:
        if self._kept_of_rule[finding.rule] < SAMPLES_PER_RULE:
            self._kept_of_rule[finding.rule] += 1
            self.findings.append(finding)


class Reject(NamedTuple):
    """A record that was not kept: its raw bytes, its place, and why."""

    data: bytes
    line: int
    record: int
    byte_offset: int
    rule: str
    findings: tuple[Finding, ...]


class Tally(FindingCollector):
    """Collects what happens to the records of one chunk: the only place where a record is counted out."""

    def __init__(self, path: str, policy: Policy) -> None:
        super().__init__()
        self.path = path
        self.policy = policy
        self.read = 0
        self.rejected: Counter[str] = Counter()
        self.rejects: list[Reject] = []

    def place(self, record: Record) -> Place:
        """Where a record of this chunk is."""
        return Place(self.path, record.line, record.record, record.byte_offset)

    def judge(self, record: Record, notes: Sequence[Note], *, must_reject: bool = False) -> bool:
        """Turns the notes on a record into findings; a record with an error is counted as rejected and kept aside.

        Args:
            record: The record, with its bytes.
            notes: All that was found in it.
            must_reject: The record cannot be taken, whatever the policy says. Where the policy makes an error of no
                note, the last one, at which the checks stopped, is an error all the same.

        Returns:
            Whether the record is rejected.
        """
        severities = [self.policy.severity(note.rule) for note in notes]
        if must_reject and "error" not in severities:
            notes = notes or [Note("shape.type", "", "the record does not fit its format")]
            severities = [*severities[: len(notes) - 1], "error"]
        place = self.place(record)
        found = [
            self.add(note, place, severity)
            for note, severity in zip(notes, severities, strict=True)
            if severity != "off"
        ]
        reason = next((finding.rule for finding in found if finding.severity == "error"), "")
        if reason:
            self.rejected[reason] += 1
            self.rejects.append(
                Reject(record.data, record.line, record.record, record.byte_offset, reason, tuple(found))
            )
        return bool(reason)
