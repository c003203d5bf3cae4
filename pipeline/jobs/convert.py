"""The conversion of one chunk of bytes: the same function in every engine, and the only place where a record of it is
counted as written or rejected.

    bytes -> records -> parse -> Converter -> one line of JSON a record, and its losses
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from registry.datasets.types import Fields
from registry.rules import Policy
from stages.convert.converter import Converter
from stages.core.collector import Reject, Tally
from stages.core.display import shown
from stages.core.findings import Finding, Note
from stages.core.records import Chunk, Limits, Record
from stages.formats.losses import Loss
from stages.parse.exact_numbers import load_exact
from stages.parse.json_record import UNPARSED, parse
from stages.readers.scan import load
from stages.readers.scan import records as read_records


@dataclass(frozen=True)
class ConvertSpec:
    """Everything a worker needs, in one picklable value."""

    from_id: str
    from_fields: Fields
    to_id: str
    to_fields: Fields
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)


class ConvertTask(NamedTuple):
    """One chunk of one file."""

    path: str
    chunk: Chunk


class RecordLosses(NamedTuple):
    """What one record lost. line is 1-based, record 0-based, as in a finding."""

    path: str
    line: int
    record: int
    losses: tuple[Loss, ...]


class ConvertResult(NamedTuple):
    """What one chunk came to.

    lines: the converted records, one a line without a last line end. keys: every key of a written record; has_calls:
    one of them holds tool_calls. findings: of rejected records, capped a rule; counts: exact, by (rule, severity).
    """

    path: str
    read: int
    written: int
    lines: bytes
    losses: list[RecordLosses]
    rejected: dict[str, int]
    counts: dict[tuple[str, str], int]
    findings: list[Finding]
    rejects: list[Reject]
    keys: dict[str, None]
    has_calls: bool
    text_bytes: int
    examples: None = None  # nothing is tokenized; read by progress


class State:
    """What a worker builds once."""

    def __init__(self, spec: ConvertSpec) -> None:
        self.spec = spec
        self.converter = Converter(spec.from_id, spec.from_fields, spec.to_id, spec.to_fields)
        self.messages = spec.to_fields.messages if self.converter.target.family == "openai" else None


def prepare(spec: ConvertSpec) -> State:
    """The engine's `prepare`."""
    return State(spec)


def run(state: State, task: ConvertTask) -> ConvertResult:
    """The engine's `run`: every record of a chunk, converted or rejected."""
    chunk = task.chunk._replace(data=load(task.chunk))
    tally = Tally(task.path, state.spec.policy)
    lines: list[bytes] = []
    lossy: list[RecordLosses] = []
    keys: dict[str, None] = {}
    has_calls = False
    for record in read_records(chunk, state.spec.limits, state.spec.from_fields):
        tally.read += 1
        losses: list[Loss] = []
        found = _converted(state, record, losses, tally)
        if found is None:
            continue
        out, line = found
        lines.append(line)
        if out.keys() - keys.keys():
            keys.update(dict.fromkeys(out))
        if state.messages is not None and not has_calls:
            has_calls = any("tool_calls" in message for message in out[state.messages])
        if losses:
            lossy.append(RecordLosses(task.path, record.line, record.record, tuple(losses)))
    return ConvertResult(
        path=task.path,
        read=tally.read,
        written=len(lines),
        lines=b"\n".join(lines),
        losses=lossy,
        rejected=dict(tally.rejected),
        counts=dict(tally.counts),
        findings=tally.findings,
        rejects=tally.rejects,
        keys=keys,
        has_calls=has_calls,
        text_bytes=len(chunk.data or b""),
    )


def _converted(state: State, record: Record, losses: list[Loss], tally: Tally) -> tuple[dict[str, Any], bytes] | None:
    """The converted record and its line; None when it was rejected."""
    notes: list[Note] = list(record.notes)
    value = parse(record.data, notes)
    # numbers of any size are carried exactly, so they are no reason to reject a record here
    notes = [note for note in notes if note.rule != "json.huge-number"]
    if value is UNPARSED or (notes and _has_error(notes, state.spec.policy)):
        tally.judge(record, notes, must_reject=True)
        return None
    out = state.converter.convert(value, losses, notes, load_exact(record.data, value))
    if out is not None:
        try:
            return out, orjson.dumps(out)
        except orjson.JSONEncodeError as error:  # see Converter.convert
            text = f"it cannot be written as {state.converter.target.id}: {shown(str(error), 80)}"
            notes.append(Note("convert.cannot-write", "", text))
    tally.judge(record, notes, must_reject=True)
    return None


def _has_error(notes: list[Note], policy: Policy) -> bool:
    return any(policy.severity(note.rule) == "error" for note in notes)
