"""The repair of one chunk of bytes: the same function in every engine.

    record -> parse -> repair -> the bytes that are written -> parse -> validate -> kept, or excluded as before

A record that needs no repair is copied byte for byte. One that is repaired must pass the validator as it was written;
if it does not, nothing of it is written, and its findings are those of the record as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from registry.datasets.types import Fields
from registry.rules import Policy
from stages.convert.repair import repair
from stages.core.collector import Tally
from stages.core.findings import Finding, Note
from stages.core.records import Chunk, Limits, Record
from stages.core.token_texts import TokenTexts
from stages.parse.exact_numbers import load_exact
from stages.parse.json_record import UNPARSED, parse
from stages.readers.scan import load
from stages.readers.scan import records as read_records
from stages.validate.record import RecordValidator

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class FixSpec:
    """Everything a worker needs for one data set, in one picklable value."""

    format: str
    fields: Fields
    stage: str
    policy: Policy
    control: TokenTexts = field(default_factory=TokenTexts)
    limits: Limits = field(default_factory=Limits)


class FixTask(NamedTuple):
    """One chunk of one file."""

    path: str
    chunk: Chunk


class FixResult(NamedTuple):
    """What one chunk came to.

    rejected: records that could not be kept as they were. kept: those that are written now, repaired ones included.
    block: the kept records, separated as their container needs it. before: findings by (rule, severity) of the records
    as they were; after: those of the records as they were written or excluded, with each repair, and what it fixed as
    a warning. findings: of `after`, capped a rule.
    """

    path: str
    read: int
    rejected: int
    kept: int
    repaired: int
    block: bytes
    before: dict[tuple[str, str], int]
    after: dict[tuple[str, str], int]
    findings: list[Finding]
    text_bytes: int
    examples: None = None  # nothing is tokenized; read by progress


class State:
    """What a worker builds once."""

    def __init__(self, spec: FixSpec) -> None:
        self.spec = spec
        self.validator = RecordValidator(spec.format, spec.fields, spec.stage, spec.policy, spec.control)


def prepare(spec: FixSpec) -> State:
    """The engine's `prepare`."""
    return State(spec)


def run(state: State, task: FixTask) -> FixResult:
    """The engine's `run`: every record of a chunk, repaired, copied or excluded."""
    chunk = task.chunk._replace(data=load(task.chunk))
    fixed = _Fixed(state, task.path)
    for record in read_records(chunk, state.spec.limits, state.spec.fields):
        fixed.add(record)
    border = b",\n" if chunk.kind == "array" else b"\n"
    return FixResult(
        path=task.path,
        read=fixed.before.read,
        rejected=sum(fixed.before.rejected.values()),
        kept=len(fixed.lines),
        repaired=fixed.repaired,
        block=border.join(fixed.lines),
        before=dict(fixed.before.counts),
        after=dict(fixed.after.counts),
        findings=fixed.after.findings,
        text_bytes=len(chunk.data or b""),
    )


class _Fixed:
    """Collects one chunk's records."""

    def __init__(self, state: State, path: str) -> None:
        self.spec = state.spec
        self.validator = state.validator
        self.before, self.after = Tally(path, state.spec.policy), Tally(path, state.spec.policy)
        self.lines: list[bytes] = []
        self.repaired = 0

    def add(self, record: Record) -> None:
        """Takes one record: into the lines, or out under its findings."""
        notes = list(record.notes)
        value = parse(record.data, notes)
        kept = value is not UNPARSED and self.validator.check(value, notes) is not None
        self.before.read += 1
        rejected = (bool(notes) or not kept) and self.before.judge(record, notes, must_reject=not kept)
        data, repairs = self._repaired(record, value)
        if repairs:
            left: list[Note] = []
            again = parse(data, left)
            if again is not UNPARSED and self.validator.check(again, left) is not None and not self._fails(left):
                self.lines.append(data)
                self.repaired += 1
                self.after.judge(record, left)
                still = {note.rule for note in left}
                self._say(record, [note for note in notes if note.rule not in still] + repairs)
                return
        if notes or rejected:
            self.after.judge(record, notes, must_reject=not kept)
        if not rejected:
            self.lines.append(record.data)

    def _repaired(self, record: Record, value: object) -> tuple[bytes, list[Note]]:
        """The bytes to write, and the repairs made; no repairs when there are none to make."""
        data, repairs = record.data, []
        if data.startswith(BOM):
            data = data.removeprefix(BOM)
            repairs.append(Note("repair.bom", "", "the byte order mark before the record is left out"))
            value = parse(data, [])
        if not isinstance(value, dict):
            return data, repairs
        fixed, made = repair(load_exact(data, value), self.spec.format, self.spec.fields, self.spec.stage)
        return (orjson.dumps(fixed) if made else data), repairs + made

    def _fails(self, notes: list[Note]) -> bool:
        return any(self.spec.policy.severity(note.rule) == "error" for note in notes)

    def _say(self, record: Record, notes: list[Note]) -> None:
        """What was wrong, and what was done about it: never errors, --strict or not, since the copy is proven good."""
        for note in notes:
            if self.spec.policy.severity(note.rule) != "off":
                self.after.add(note, self.after.place(record), "warning")
