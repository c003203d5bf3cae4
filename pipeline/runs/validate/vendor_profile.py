"""`--profile`: the checked files once more, against the demands of one vendor.

What a vendor refuses, prep can still pack: these findings count as errors or warnings, and no record is rejected for
them. Records that are no good for any trainer are left to the other rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pipeline.engine import Engine, Job, in_order
from pipeline.engine.open import open_engine
from pipeline.jobs.specs import task_name
from pipeline.jobs.vendor_profile import ProfileResult, ProfileSpec, ProfileTask, State, run
from pipeline.reports.model import ValidationReport, make_report
from registry.profiles import load_profile
from registry.rules import Policy
from stages.core.collector import FindingCollector, Place
from stages.core.records import Chunk, FileInfo
from stages.core.urls import named
from stages.readers.scan import scan
from stages.validate.vendor_profile import FileState, file_notes, shape_of

from .run import Checked


def check_profile(checked: Checked, name: str) -> ValidationReport:
    """The report of a validation with what the vendor would refuse. Raises UsageFault for an unknown profile."""
    profile = load_profile(name)
    found = FindingCollector()
    for plan in checked.plans:
        overrides = {**profile.rules, **dict(plan.policy.overrides)}
        policy = Policy.make(plan.policy.stage, overrides, strict=plan.policy.strict)
        for source in plan.sources:
            spec = ProfileSpec(name, source.spec, policy, plan.limits)
            job: Job[ProfileTask, ProfileResult] = Job(State, run, task_name, spec)
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
    """Adds the findings about one file: those of its chunks, then those about the whole."""
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
