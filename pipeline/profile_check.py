"""`--profile`: the checked files once more, against the demands of one vendor.

What a vendor refuses, prep can still pack: these findings count as errors or warnings, and no record is rejected for
them. Records that are no good for any trainer are left to the other rules.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from registry.profiles import load_profile
from registry.rules import Policy
from stages.batch import SAMPLES_PER_RULE, SourceSpec, Tally
from stages.findings import Finding, Note
from stages.formats import FORMATS
from stages.parse import UNPARSED, parse
from stages.profiles import FileState, ProfileChecker, file_notes, shape_of
from stages.read import Chunk, FileInfo, Limits, load, named, records, scan
from stages.schema import compiled

from .config import worker_count
from .engines import SMALL_INPUT_BYTES
from .plan import Plan, Source
from .reports.model import ValidationReport, make_report
from .validate import Checked
from .workers import Job, inline, processes


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
    counts: Counter[tuple[str, str]] = Counter()
    findings: list[Finding] = []
    shown: Counter[str] = Counter()
    for plan in checked.plans:
        policy = Policy.make(
            plan.policy.stage, {**profile.rules, **dict(plan.policy.overrides)}, strict=plan.policy.strict
        )
        for source in plan.sources:
            for path in source.files:
                for found, counted in _one_file(plan, source, path, name, policy):
                    counts.update(counted)
                    for finding in found:
                        if shown[finding.rule] < SAMPLES_PER_RULE:
                            shown[finding.rule] += 1
                            findings.append(finding)
    report = checked.report
    counts.update({(rule, report.severities[rule]): count for rule, count in report.counts.items()})
    return make_report(
        report.inputs,
        counts,
        [*report.findings, *findings],
        repaired=report.totals.repaired,
        remarks=[*report.remarks, f"profile {name}: {profile.title}, as of {profile.as_of}"],
        elapsed_s=report.elapsed_s,
    )


def _one_file(
    plan: Plan, source: Source, path: str, name: str, policy: Policy
) -> Iterator[tuple[list[Finding], dict[tuple[str, str], int]]]:
    """Findings and counts of one file, chunk by chunk, then those of the whole."""
    spec = ProfileSpec(name, source.spec, policy, plan.limits)
    job: Job[ProfileTask, ProfileResult] = Job(_State, _run, _name, spec)
    infos: list[FileInfo] = []
    workers = worker_count(plan.config)
    small = workers <= 1 or (os.path.getsize(path) if os.path.exists(path) else 0) < SMALL_INPUT_BYTES
    tasks = _tasks(plan, path, infos)
    state = FileState()
    waiting: dict[int, ProfileResult] = {}
    following = 0
    for index, result in inline(job, tasks) if small else processes(job, tasks, workers):
        waiting[index] = result
        while following in waiting:
            result = waiting.pop(following)
            following += 1
            state.merge(result.state)
            yield result.findings, result.counts
    tally = Tally(named(path), policy)
    shape = shape_of(source.spec.format, source.spec.fields)
    for note in file_notes(load_profile(name), shape, named(path), infos[0], state):
        _say(tally, note)
    yield tally.findings, dict(tally.counts)


def _say(tally: Tally, note: Note) -> None:
    severity = tally.policy.severity(note.rule)
    if severity != "off":
        tally.counts[note.rule, severity] += 1
        place = (tally.path, -1, -1, -1)
        tally.findings.append(Finding(note.rule, severity, *place, note.pointer, note.message, note.hint, note.value))


def _tasks(plan: Plan, path: str, infos: list[FileInfo]) -> Iterator[ProfileTask]:
    for item in scan(path, plan.limits):
        if isinstance(item, Chunk):
            yield ProfileTask(named(path), item)
        else:
            infos.append(item)


def _name(task: ProfileTask) -> str:
    return f"{task.path}, bytes {task.chunk.start} to {task.chunk.end}"


def _run(state: _State, task: ProfileTask) -> ProfileResult:
    chunk = task.chunk._replace(data=load(task.chunk))
    tally = Tally(task.path, state.spec.policy)
    seen = FileState()
    for record in records(chunk, state.spec.limits, state.spec.source.fields):
        value = parse(record.data, list(record.notes))
        if value is UNPARSED or not isinstance(value, dict):
            continue
        seen.add(value, record.record, record.byte_offset)
        if state.is_valid(value) and (notes := state.checker.notes(value)):
            tally.judge(record, notes)
            tally.rejects.clear()
    return ProfileResult(dict(tally.counts), tally.findings, seen)
