"""Fix: a repaired copy of every input file, beside the input and never in its place.

    prep validate data/ --fix repaired      repaired/a.jsonl, repaired/sub/b.json.gz, ...
    prep validate a.jsonl --fix b.jsonl     one file

Records that need no repair are copied byte for byte, in order; records that cannot be repaired are excluded, with the
reason among the findings. Tables become JSON lines. The report that comes back is that of the copy, with the places of
the input: repaired records are kept ones; every repair is a warning of its own rule, and so is what it fixed.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.engine import Engine, Job, in_order
from pipeline.engine.open import open_engine
from pipeline.jobs.repair import FixResult, FixSpec, FixTask, prepare, run
from pipeline.jobs.specs import task_name
from pipeline.output.protect_inputs import marks, refuse_file
from pipeline.plan.types import Plan, Source
from pipeline.reports.model import ValidationReport, make_report
from registry.errors import UsageFault
from stages.core.atomic_io import make_folder
from stages.core.collector import FindingCollector, Place
from stages.core.findings import Note
from stages.core.records import Chunk, FileInfo
from stages.core.urls import named
from stages.readers.scan import scan
from stages.readers.sniff import ending
from stages.writers.records import open_lines

from .run import Checked

_ALL_LOST = "set.all-rejected"
_FILE_REPAIRS = {"bytes.bom": "repair.bom", "bytes.crlf": "repair.crlf"}


@dataclass
class FileFix:
    """One file. out: its copy, None when it holds no record. rejected: records that could not be kept as they were."""

    path: str
    out: Path | None = None
    info: FileInfo | None = None
    read: int = 0
    rejected: int = 0
    kept: int = 0
    repaired: int = 0


@dataclass
class Fixed:
    """Everything that the copies came to. before: findings of records by (rule, severity) as they were; after: those of
    the copies. Both as in FixResult."""

    files: list[FileFix] = field(default_factory=list)
    before: Counter[tuple[str, str]] = field(default_factory=Counter)
    after: FindingCollector = field(default_factory=FindingCollector)

    def take(self, result: FixResult) -> None:
        """Adds one chunk, in input order."""
        self.before.update(result.before)
        self.after.merge(result.findings, result.after)


def write_repaired(checked: Checked, out: str) -> ValidationReport:
    """Writes a repaired copy of every file that was checked; returns the report of the copies.

    out: a file, when one file was checked and the name has a data ending, else a folder. Raises UsageFault when a copy
    would be its own input, MachineFault when the disk says no.
    """
    capped = [plan for plan in checked.plans if plan.config.data.max_samples is not None]
    if capped:
        raise UsageFault(
            "--fix: max_samples takes a part of the records; a copy holds all", hint="leave max_samples out"
        )
    paths = [path for plan in checked.plans for source in plan.sources for path in source.files]
    targets = iter(copy_paths(paths, out))
    fixed = Fixed()
    for plan in checked.plans:
        for source in plan.sources:
            with open_engine(plan.config, _job(plan, source), source.bytes) as engine:
                for path in source.files:
                    fixed.files.append(_one_file(plan, engine, path, next(targets), fixed))
    return _report(checked.report, fixed)


def copy_paths(paths: Sequence[str], out: str) -> list[Path]:
    """Where the copy of each file goes. Raises UsageFault when that is an input, its own or another, or when
    two copies are the same."""
    refuse_file(Path(out).parent, "--fix")
    plain = [path.rstrip("/").rpartition("://")[2] for path in paths]
    if len(paths) == 1 and ending(out)[0] and not os.path.isdir(out):
        targets = [Path(out)]
    else:
        if os.path.isfile(out):
            raise UsageFault(f"--fix {out}: is a file; {len(paths)} copies need a folder")
        common = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in plain])
        targets = [Path(out) / os.path.relpath(os.path.abspath(path), common) for path in plain]
    read = set().union(*(marks(path) for path in paths))
    # rows of a table become JSON lines, under a name of their own
    names = [sorted({target, _copy_name(target, "table")}) for target in targets]
    problems = [
        f"--fix {out}: {name} is an input; a copy never takes its place"
        for name in dict.fromkeys(itertools.chain(*names))
        if read & marks(name)
    ]
    if max(Counter(itertools.chain(*names)).values(), default=0) > 1:
        problems.append(f"--fix {out}: two of the inputs have the same name; repair them one by one")
    if problems:
        raise UsageFault(problems, hint="name another folder")
    return targets


def _job(plan: Plan, source: Source) -> Job[FixTask, FixResult]:
    spec = FixSpec(
        source.spec.format,
        source.spec.fields,
        plan.stage,
        plan.policy,
        plan.control,
        plan.limits,
    )
    return Job(prepare, run, task_name, spec)


def _one_file(plan: Plan, engine: Engine[FixTask, FixResult], path: str, target: Path, fixed: Fixed) -> FileFix:
    done = FileFix(named(path))
    kinds: list[str] = []  # of each chunk that was handed out
    results = in_order(engine.run(_tasks(plan, path, done, kinds)))
    first = next(results, None)
    if first is not None:
        done.out = _copy_name(target, kinds[0])
        make_folder(done.out.parent)
        with open_lines(done.out, array=kinds[0] == "array") as lines:
            for result in itertools.chain([first], results):
                lines.add_block(result.block, result.kept)
                done.read += result.read
                done.rejected += result.rejected
                done.kept += result.kept
                done.repaired += result.repaired
                fixed.take(result)
            lines.finish()
    if done.info is not None:
        _file_repairs(done.info, plan, fixed)
    return done


def _copy_name(target: Path, kind: str) -> Path:
    """The name of the copy: rows of a table, and objects spread over lines, become JSON lines."""
    form, packed = ending(str(target))
    if kind in ("jsonl", "array") or form in ("json", "jsonl"):
        return target
    name = target.name
    for _ in range(bool(form) + bool(packed)):
        name = name.rpartition(".")[0]
    return target.with_name(f"{name}.jsonl")


def _tasks(plan: Plan, path: str, done: FileFix, kinds: list[str]) -> Iterator[FixTask]:
    for item in scan(path, plan.limits):
        if isinstance(item, Chunk):
            kinds.append(item.kind)
            yield FixTask(named(path), item)
        else:
            done.info = item


def _file_repairs(info: FileInfo, plan: Plan, fixed: Fixed) -> None:
    """Counts the repairs of whole files: no copy has a byte order mark or CR LF."""
    for note in info.notes:
        rule = _FILE_REPAIRS.get(note.rule)
        severity = plan.policy.severity(note.rule)
        if rule is None or severity == "off":
            continue
        fixed.after.add(Note(rule, "", f"{note.message}: repaired in the copy"), Place(info.path), "warning")


def _report(report: ValidationReport, fixed: Fixed) -> ValidationReport:
    """The first report with what the copies changed.

    Findings of the whole set (duplicates, mappings, ...), and those that need a template, stay as they were.
    """
    by_path = {item.path: item for item in fixed.files}
    saved = {item.path for item in fixed.files if item.kept}
    rescued = sum(finding.rule == _ALL_LOST and finding.path in saved for finding in report.findings)
    rules = {rule for rule, _ in fixed.before}
    counts: Counter[tuple[str, str]] = Counter(
        {(rule, report.severities[rule]): count for rule, count in report.counts.items() if rule not in rules}
    )
    counts.update(fixed.after.counts)
    counts.subtract({(_ALL_LOST, report.severities.get(_ALL_LOST, "")): rescued})
    kept = [
        finding
        for finding in report.findings
        if finding.rule not in rules and not (finding.rule == _ALL_LOST and finding.path in saved)
    ]
    inputs = []
    for item in report.inputs:
        copy = by_path[item.path]
        refused = max(0, item.rejected - copy.rejected)  # by what only a template or tokenizer shows
        inputs.append(replace(item, kept=copy.kept - refused, rejected=item.read - copy.kept + refused))
    written = [f"repaired copy: {item.out}" for item in fixed.files if item.out is not None]
    return make_report(
        inputs,
        +counts,
        [*kept, *fixed.after.findings],
        repaired=sum(item.repaired for item in fixed.files),
        remarks=[*report.remarks, *written],
        elapsed_s=report.elapsed_s,
    )
