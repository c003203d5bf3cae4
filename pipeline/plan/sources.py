"""Data sets of a configuration: their files, and the record format that their first records show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import orjson

from pipeline.config import Config
from pipeline.config.groups import AUTO
from pipeline.jobs.specs import SourceSpec
from registry.datasets import resolve
from registry.datasets.types import Dataset
from registry.errors import DataFault, Fault, UsageFault
from registry.kinds import STAGES
from stages.core.records import Chunk, Limits
from stages.core.urls import public
from stages.formats.detect import Detection, Detector
from stages.formats.table import FORMATS, format_in_stage
from stages.readers.discover import discover
from stages.readers.scan import records, scan
from stages.validate.suggest import suggestion

from .hub_datasets import fetch, whole_and_part
from .types import Source

_NAMED = 3  # files that one remark names; more of them are counted


def resolve_sources(config: Config, stage: str, limits: Limits, *, lenient: bool) -> tuple[list[Source], list[str]]:
    """The data sets of `dataset` and `eval_dataset`, in order.

    Args:
        config: The settings.
        stage: Whose records they are to be.
        limits: Bounds on the input.
        lenient: Take records of several formats or of none; what is wrong with each is reported when it is checked.

    Returns:
        The sources, and notes on how they were read.

    Raises:
        UsageFault: With every data set that is not there or cannot be used.
        DataFault: With every data set whose records are of several formats or of none.
        MachineFault: A data set of a hub cannot be loaded.
    """
    train, evaluation = config.data.dataset, config.data.eval_dataset
    if not train and not evaluation:
        raise UsageFault("dataset: not given", hint="name data sets of dataset_info.json, or a file, folder or glob")
    notes: list[str] = []
    sources: list[Source] = []
    wrong: list[Fault] = []
    for names, split in ((train, "train"), (evaluation, "validation")):
        if not names:
            continue
        for dataset in resolve(
            names,
            config.data.dataset_dir,
            stage=STAGES[stage].data_stage,
            base=config.folder,
            record_format=config.data.format,
        ):
            notes += dataset.notes
            try:
                dataset, files = _files(dataset, notes)
                where = f"validation_{dataset.name}" if split != "train" and config.mix.eval_on_each_dataset else split
                sources.append(_source(dataset, files, where, stage, limits, lenient=lenient))
            except (UsageFault, DataFault) as fault:
                wrong.append(fault)
    raise_together(wrong)
    notes += format_remarks((source.files, source.detection) for source in sources)
    return sources, notes


def _files(dataset: Dataset, notes: list[str]) -> tuple[Dataset, tuple[str, ...]]:
    """The files of a data set's split, and the data set with the part of them that is taken, in terms of `train`."""
    if dataset.hub:
        dataset = fetch(dataset)
        return dataset, tuple(path for spec in dataset.files for path in discover(spec, notes=notes))
    names = {part.partition("[")[0].strip() for part in dataset.split.split("+")}
    name, part = ("train", dataset.split) if names == {"train"} else whole_and_part(dataset)
    found = tuple(path for spec in dataset.files for path in discover(spec, notes=notes, split=name))
    return dataclasses.replace(dataset, split=part), found


def raise_together(faults: Sequence[Fault]) -> None:
    """Raises one fault for all of them; mistakes in the command go before those in the data."""
    if not faults:
        return
    kind = UsageFault if any(isinstance(fault, UsageFault) for fault in faults) else DataFault
    mine = [fault for fault in faults if isinstance(fault, kind)]
    problems = [problem for fault in mine for problem in fault.problems]
    raise kind(list(dict.fromkeys(problems)), hint=next((fault.hint for fault in mine if fault.hint), ""))


def format_remarks(found: Iterable[tuple[Sequence[str], Detection | None]]) -> list[str]:
    """What each set was read as and why, one line for all that agree: (files, detection), None when it was given."""
    alike: dict[str, list[str]] = {}
    lines = []
    for files, detection in found:
        if detection is None:
            continue
        name = _named(files)
        if detection.unanimous:
            alike.setdefault(f"{detection.format}: {detection.why}", []).append(name)
        else:
            lines.append(f"{name}: {detection.reason}")
    return [*(f"{_named(names)}: {what}" for what, names in alike.items()), *lines]


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(map(public, names[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def _source(
    dataset: Dataset, files: tuple[str, ...], split: str, stage: str, limits: Limits, *, lenient: bool
) -> Source:
    form = dataset.format
    detection = None
    if form == AUTO:
        detection = detect_format(files, limits)
        form = detection.format or likely_format(detection)
        if not lenient and detection.mixed:
            raise _mixed(files, detection, limits)
        if not lenient and detection.format is None and detection.unknown:
            raise DataFault(
                f"{public(files[0])}: {detection.reason}",
                hint=suggestion(detection.sample, STAGES[stage].data_stage)
                or "say it with format=ID (`prep list formats`), or map columns in dataset_info.json",
            )
    if form not in FORMATS:
        raise UsageFault(f"{dataset.name}: there is no record format {form!r}")
    known = FORMATS[form]
    fields = dataset.fields or (detection.fields if detection else None) or known.default_fields
    spec = SourceSpec(dataset.name, format_in_stage(form, stage), fields)
    return Source(dataset, spec, files, split, detection)


def likely_format(detection: Detection) -> str:
    """The format to read records as that are of several formats or of none: each is then checked as that."""
    return max(detection.counts, key=lambda key: detection.counts[key], default="alpaca")


def _mixed(files: Sequence[str], detection: Detection, limits: Limits) -> DataFault:
    if any(detect_format([path], limits).mixed for path in files):
        return DataFault(
            f"{public(files[0])}: {detection.reason}", hint="keep one format a file, or say which with format=ID"
        )
    return DataFault(
        f"{_named(files)}: {detection.reason}",
        hint="make files of each format a data set of their own: dataset=a.jsonl,b.jsonl, or dataset_info.json",
    )


def detect_format(files: Sequence[str], limits: Limits) -> Detection:
    """Finds out the record format of a set from its first records."""
    detector, places, broken = Detector(), [], 0
    for path in files:
        for item in scan(path, limits):
            if not isinstance(item, Chunk):
                continue
            for record in records(item, limits):
                try:
                    value = orjson.loads(record.data)
                except ValueError:  # what is wrong with it is reported when it is checked
                    broken += 1
                    continue
                if isinstance(value, dict):
                    detector.add(value)
                    places.append(f"{path}:{record.line}")
            break  # one chunk a file is enough, and the next file may show more
    found = detector.result()
    if not places and broken:
        what = f"none of the first {broken:,} records can" if broken > 1 else "the first record cannot"
        return dataclasses.replace(found, reason=f"{what} be read: see `prep validate {public(files[0])}`")
    if found.mixed:
        firsts = ", ".join(f"{name} (first at {places[at]})" for name, at in found.first.items())
        return dataclasses.replace(found, reason=f"the records are of several formats: {firsts}")
    return found
