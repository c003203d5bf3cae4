"""`--profile`: the checked files once more, against the demands of one vendor.

What a vendor refuses, prep can still pack: these findings count as errors or warnings, and no record is rejected for
them. Records that are no good for any trainer are left to the other rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from registry.profiles import load_profile
from registry.rules import Policy
from stages.collector import FindingCollector, Place
from stages.findings import Finding
from stages.formats import FORMATS
from stages.parse import UNPARSED, parse
from stages.profiles import FileState, ProfileChecker, file_notes, shape_of
from stages.read import Chunk, FileInfo, Limits, load, named, records, scan
from stages.schema import compiled
from stages.specs import SourceSpec, task_name

from .engines import Engine, in_order, open_engine
from .reports.model import ValidationReport, make_report
from .validate import Checked
from .workers import Job


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


class _State:
    def __init__(self, spec: ProfileSpec) -> None:
        source = spec.source
        self.spec = spec
        self.checker = ProfileChecker(load_profile(spec.profile), source.format, source.fields)
        self.is_valid = compiled(source.format, source.fields, FORMATS[source.format].kind).is_valid


def check_profile(checked: Checked, name: str) -> ValidationReport:
    """The report of a validation with what the vendor would refuse. Raises UsageFault for an unknown profile."""
    profile = load_profile(name)
    found = FindingCollector()
    for plan in checked.plans:
        overrides = {**profile.rules, **dict(plan.policy.overrides)}
        policy = Policy.make(plan.policy.stage, overrides, strict=plan.policy.strict)
        for source in plan.sources:
            spec = ProfileSpec(name, source.spec, policy, plan.limits)
            job: Job[ProfileTask, ProfileResult] = Job(_State, _run, task_name, spec)
            with open_engine(plan.config, job, source.bytes) as engine:
                for path in source.files:
                    _one_file(engine, spec, path, found)
    report = checked.report
    counts = found.counts + Counter({(rule, report.severities[rule]): count for rule, count in report.counts.items()})
    return make_report(
        report.inputs,
        counts,
        [*report.findings, *found.findings],
        repaired=report.totals.repaired,
        remarks=[*report.remarks, f"profile {name}: {profile.title}, as of {profile.as_of}"],
        elapsed_s=report.elapsed_s,
    )


def _one_file(
    engine: Engine[ProfileTask, ProfileResult], spec: ProfileSpec, path: str, found: FindingCollector
) -> None:
    """What is said of one file, chunk by chunk, then of the whole."""
    infos: list[FileInfo] = []
    state = FileState()
    for result in in_order(engine.run(_tasks(spec, path, infos))):
        state.merge(result.state)
        found.merge(result.findings, result.counts)
    shape = shape_of(spec.source.format, spec.source.fields)
    for note in file_notes(load_profile(spec.profile), shape, named(path), infos[0], state):
        found.note(note, Place(named(path)), spec.policy)


def _tasks(spec: ProfileSpec, path: str, infos: list[FileInfo]) -> Iterator[ProfileTask]:
    for item in scan(path, spec.limits):
        if isinstance(item, Chunk):
            yield ProfileTask(named(path), item)
        else:
            infos.append(item)


def _run(state: _State, task: ProfileTask) -> ProfileResult:
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
