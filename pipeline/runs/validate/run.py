"""Validate: the intake of `prep pack` run dry. What it keeps is what packing with the same config takes in.

files given      each is a data set of its own; its format and stage are found out
a configuration  its data sets, its stage, and its template and tokenizer when it names them
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.config.groups import AUTO
from pipeline.engine.open import open_engine
from pipeline.jobs.dispatch import chunk_job
from pipeline.jobs.specs import SourceSpec
from pipeline.plan import make_plan
from pipeline.plan.sources import detect_format, format_remarks, likely_format, raise_together
from pipeline.plan.types import Plan, Source
from pipeline.progress import Progress
from pipeline.reports.model import ValidationReport
from pipeline.runs.collect import Collected, check_set, check_traits, collect, validation_report
from registry.datasets.types import Dataset
from registry.errors import Fault, UsageFault
from registry.kinds import usual_stage
from stages.core.records import Limits
from stages.formats.detect import Detection
from stages.formats.table import FORMATS, format_in_stage
from stages.readers.discover import discover

from .registered import registered

if TYPE_CHECKING:
    from pipeline.output.rejects import RejectFolder


@dataclass
class Checked:
    """The outcome: the report, and the plans it came from."""

    report: ValidationReport
    plans: list[Plan] = field(default_factory=list)


def plan_files(paths: Sequence[str], config: Config) -> tuple[list[Plan], list[str]]:
    """Plans for files, folders and globs: one a training stage; and remarks on what was found out."""
    limits = Limits()
    form = config.data.format
    remarks: list[str] = []
    for spec in paths:
        remarks += registered(spec, config)
    groups: dict[str, list[Source]] = {}
    files: list[str] = []
    wrong: list[Fault] = []
    for spec in paths:
        try:
            files += discover(spec, notes=remarks)
        except UsageFault as fault:
            wrong.append(fault)
    raise_together(wrong)
    detections: list[tuple[list[str], Detection | None]] = []
    for path in dict.fromkeys(files):
        name = form
        fields = None
        detection = None
        if form == AUTO:
            detection = detect_format([path], limits)
            name = detection.format or likely_format(detection)
            fields = detection.fields
        known = FORMATS[name]
        stage = config.method if "stage" in config.given else usual_stage(known.kind)
        data = Dataset(path, (path,), format=name, fields=fields)
        reads = SourceSpec(path, format_in_stage(name, stage), fields or known.default_fields)
        source = Source(data, reads, (path,), detection=detection)
        detections.append(([path], detection))
        groups.setdefault(stage, []).append(source)
    if not groups:
        raise UsageFault(
            f"{' '.join(paths)}: no data files", hint="name a .json, .jsonl, .csv, .parquet or .arrow file"
        )
    plans = []
    for stage, sources in groups.items():
        plans.append(make_plan(config.with_values(stage=stage), needs_tokens=False, limits=limits, sources=sources))
    return plans, [*remarks, *format_remarks(detections)]


def validate(
    plans: Sequence[Plan], *, rejects: str | None = None, remarks: Sequence[str] = (), quiet: bool = True
) -> Checked:
    """Checks every record of the plans.

    Args:
        plans: One a group of data sets with the same options.
        rejects: Folder for the raw bytes of rejected records, None to keep none.
        remarks: Lines for the report about the run as a whole.
        quiet: Whether no progress is shown.

    Returns:
        The report, in which errors of the data stand, and the plans.

    Raises:
        Fault: Only when nothing can be checked at all.
    """
    started = time.perf_counter()
    runs: list[tuple[Plan, Collected]] = []
    folder = _reject_folder(plans, Path(rejects)) if rejects is not None else None
    for plan in plans:
        with Progress(quiet=quiet, total_bytes=plan.input_bytes) as progress:
            collected = _collect(plan, folder, progress)
        check_set(plan, collected)
        check_traits(plan, collected)
        runs.append((plan, collected))
    if folder is not None:
        folder.finish()
    elapsed = time.perf_counter() - started
    return Checked(validation_report(runs, remarks=remarks, elapsed_s=elapsed), list(plans))


def _reject_names(plan: Plan) -> list[str]:
    return [Path(source.spec.name).name for source in plan.sources]


def _reject_folder(plans: Sequence[Plan], folder: Path) -> RejectFolder:
    from pipeline.output.rejects import RejectFolder

    read = [path for plan in plans for source in plan.sources for path in source.files]
    return RejectFolder(folder, [name for plan in plans for name in _reject_names(plan)], read)


def _collect(plan: Plan, folder: RejectFolder | None, progress: Progress) -> Collected:
    with ExitStack() as stack:
        on_reject = stack.enter_context(folder.writer(_reject_names(plan))).add if folder is not None else None
        job = chunk_job(plan.batch_spec(None))
        engine = stack.enter_context(open_engine(plan.config, job, plan.input_bytes))
        return collect(plan, engine, on_reject, progress)
