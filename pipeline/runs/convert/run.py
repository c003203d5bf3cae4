"""Convert: files of one format in, one file of another out, and a report that adds up.

Chunks are converted by the same engines as everywhere, written in input order, and never held: memory is bounded by the
chunks in flight. The output appears whole or not at all.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from pipeline.engine import Job, in_order
from pipeline.engine.open import open_engine
from pipeline.jobs.convert import ConvertResult, ConvertTask, RecordLosses, prepare, run
from pipeline.jobs.specs import task_name
from pipeline.output.protect_inputs import marks, refuse_folder, refuse_reading
from registry.errors import UsageFault
from stages.core.atomic_io import make_folder
from stages.core.collector import Place
from stages.core.records import Chunk
from stages.core.urls import named
from stages.formats.table import FORMATS
from stages.readers.scan import scan
from stages.writers.records import RowSink, container_of, open_rows

from .report import ReportWriter
from .types import Conversion, Converted, FileCounts


class _Unpublished(Exception):
    """Leaves the block that writes the output, so that it never appears."""


def convert_files(requested: Conversion, on_progress: Callable[[ConvertResult], None] | None = None) -> Converted:
    """Converts. Raises UsageFault for an output that cannot be written, MachineFault when the disk says no."""
    started = time.perf_counter()
    _check_output(requested)
    done = Converted()
    target = FORMATS[requested.spec.to_id]
    make_folder(requested.out.parent)
    if requested.report is not None:
        make_folder(requested.report.parent)
    with ExitStack() as stack:
        report = stack.enter_context(ReportWriter(requested.report, requested)) if requested.report else None
        folder = rejects = None
        if requested.rejects is not None:
            from pipeline.output.rejects import RejectFolder

            beside = [requested.out, *([requested.report] if requested.report else [])]
            folder = RejectFolder(requested.rejects, [requested.out.stem], [*requested.files, *beside])
            rejects = stack.enter_context(folder.writer([requested.out.stem]))
        try:
            flat = target.family in ("alpaca", "pretrain")
            with open_rows(requested.out, flat=flat, fields=requested.spec.to_fields) as rows:
                for result in _ordered(requested, done):
                    rows.add(result.lines, result.written)
                    _take(done, result)
                    if report is not None:
                        report.add(result.losses)
                    for reject in result.rejects if rejects is not None else ():
                        rejects.add(0, reject)  # type: ignore[union-attr]  # the loop is empty without it
                    if on_progress is not None:
                        on_progress(result)
                _finish(requested, done, rows)
            done.published = True
        except _Unpublished:
            pass
        done.elapsed_s = time.perf_counter() - started
        if report is not None:
            report.finish(done)
    if folder is not None:
        folder.finish()
    return done


def _finish(requested: Conversion, done: Converted, rows: RowSink) -> None:
    """The last rows. Raises _Unpublished when there is nothing to publish, or more is lost than may be."""
    if not done.written or (requested.strict and (done.losses or done.errors)):
        raise _Unpublished
    rows.finish()
    done.changed = rows.changed
    if requested.strict and done.reshaped:
        raise _Unpublished


def _check_output(requested: Conversion) -> None:
    container_of(requested.out)
    read = (*requested.files, *requested.tables)
    refuse_folder(requested.out, "-o", "converted.jsonl")
    refuse_reading(requested.out, read, "-o")
    if requested.report is not None:
        refuse_folder(requested.report, "--report", "lost.json")
        refuse_reading(requested.report, read, "--report")
        if marks(requested.report) & marks(requested.out):
            raise UsageFault(
                f"--report {requested.report}: is the output as well", hint="give another file with --report"
            )


def _ordered(requested: Conversion, done: Converted) -> Iterator[ConvertResult]:
    """Results in input order, whatever order they come in."""
    job: Job[ConvertTask, ConvertResult] = Job(prepare, run, task_name, requested.spec)
    places: deque[FileCounts] = deque()  # the file of each chunk that was not yet taken
    size = sum(os.path.getsize(path) for path in requested.files if os.path.exists(path))
    with open_engine(requested.config, job, size) as engine:
        for result in in_order(engine.run(_tasks(requested, done, places))):
            counts = places.popleft()
            counts.read += result.read
            counts.written += result.written
            counts.rejected += sum(result.rejected.values())
            yield result


def _tasks(requested: Conversion, done: Converted, places: deque[FileCounts]) -> Iterator[ConvertTask]:
    for path in requested.files:
        counts = FileCounts(named(path))
        done.files.append(counts)
        for item in scan(path, requested.spec.limits):
            if isinstance(item, Chunk):
                places.append(counts)
                yield ConvertTask(named(path), item)
            else:
                counts.info = item
                for note in item.notes:
                    done.found.note(note, Place(item.path), requested.spec.policy)


def _take(done: Converted, result: ConvertResult) -> None:
    done.found.merge(result.findings, result.counts)
    done.keys.update(result.keys)
    done.has_calls = done.has_calls or result.has_calls
    done.lossy_records += len(result.losses)
    _count_losses(done, result.losses)


def _count_losses(done: Converted, found: list[RecordLosses]) -> None:
    for record in found:
        done.losses.update((item.field, item.what) for item in record.losses)
        done.lossy.update({item.what for item in record.losses})
