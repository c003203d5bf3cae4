"""The `--profile` check of one chunk of bytes: the same function in every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from registry.profiles import load_profile
from registry.rules import Policy
from stages.core.collector import FindingCollector, Place
from stages.core.findings import Finding
from stages.core.records import Chunk, Limits
from stages.formats.table import FORMATS
from stages.parse.json_record import UNPARSED, parse
from stages.readers.scan import load, records
from stages.validate.schema import compiled
from stages.validate.vendor_profile import FileState, ProfileChecker

from .specs import SourceSpec


@dataclass(frozen=True)
class ProfileSpec:
    """Everything a worker needs for one data set."""

    profile: str
    source: SourceSpec
    policy: Policy
    limits: Limits


class ProfileTask(NamedTuple):
    """One chunk of one file."""

    path: str
    chunk: Chunk


class ProfileResult(NamedTuple):
    """What one chunk came to."""

    counts: dict[tuple[str, str], int]
    findings: list[Finding]
    state: FileState


class State:
    """What a worker builds once."""

    def __init__(self, spec: ProfileSpec) -> None:
        source = spec.source
        self.spec = spec
        self.checker = ProfileChecker(load_profile(spec.profile), source.format, source.fields)
        self.is_valid = compiled(source.format, source.fields, FORMATS[source.format].kind).is_valid


def run(state: State, task: ProfileTask) -> ProfileResult:
    """The engine's `run`: every record of a chunk that is valid, held against the vendor's demands."""
    chunk = task.chunk._replace(data=load(task.chunk))
    found = FindingCollector()
    seen = FileState()
    for record in records(chunk, state.spec.limits, state.spec.source.fields):
        value = parse(record.data, list(record.notes))
        if value is UNPARSED or not isinstance(value, dict):
            continue
        seen.add(value, record.record, record.byte_offset)
        if state.is_valid(value):
            place = Place(task.path, record.line, record.record, record.byte_offset)
            for note in state.checker.notes(value):
                found.note(note, place, state.spec.policy)
    return ProfileResult(dict(found.counts), found.findings, seen)
