"""Collect: run the batch path over every chunk, and gather the results in input order.

Results arrive in any order; they are counted in input order, so that every figure, capped list and file is the same for
any number of workers. Rejected records are handed on as they come and not held.

Set-level checks: what only the whole set shows. Added to the findings once every chunk is in.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.engine import Engine, in_order
from pipeline.jobs.specs import ChunkResult, Task
from pipeline.plan.types import Plan, Source
from pipeline.reports.model import InputReport, ValidationReport, make_report
from registry.errors import DataFault
from stages.core.collector import FindingCollector, Place, Reject
from stages.core.display import shown
from stages.core.findings import Note
from stages.core.records import Chunk, FileInfo
from stages.core.urls import named
from stages.readers.scan import scan
from stages.validate.dataset_rules import SetView, set_findings
from stages.validate.dataset_state import SetState

if TYPE_CHECKING:
    from .tokenizer_backend import BackEndProof


CHECKED_FILES = 8  # files whose first chunk proves the tokenizer's back end


@dataclass
class FileTotals:
    """One input file: what it is and what came of it. `base`: records of its source before it."""

    source: int
    path: str
    base: int = 0
    info: FileInfo | None = None
    read: int = 0
    not_taken: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)  # notes by rule


@dataclass
class Collected:
    """Everything a run learned from its input. `chunks` keeps per-record lengths (None entries when not tokenized)."""

    files: list[FileTotals] = field(default_factory=list)
    found: FindingCollector = field(default_factory=FindingCollector)
    chunks: list[tuple[int, int, ChunkResult]] = field(default_factory=list)  # (source, file index, result)
    setstates: dict[int, Any] = field(default_factory=dict)
    reused: int = 0
    text_bytes: int = 0
    checked_texts: int = 0
    seen: dict[int, Counter[str]] = field(default_factory=dict)  # source -> records by template trait

    @property
    def read(self) -> int:
        """Records in the input, taken or not."""
        return sum(item.read + item.not_taken for item in self.files)

    @property
    def rejected(self) -> int:
        """Records that were not kept."""
        return sum(sum(item.rejected.values()) for item in self.files)


def collect(
    plan: Plan,
    engine: Engine[Task, ChunkResult],
    on_reject: Callable[[int, Reject], None] | None = None,
    on_progress: Callable[[ChunkResult], None] | None = None,
    proof: BackEndProof | None = None,
) -> Collected:
    """Runs every chunk of the plan.

    Args:
        plan: What is to be read.
        engine: Runs the chunks, in any order.
        on_reject: Takes the index of a source and one of its rejected records, in input order.
        on_progress: Takes each result when it comes.
        proof: Takes the samples that prove the tokenizer's back end.

    Returns:
        What was read and found, in input order.

    Raises:
        Fault: When the engine does.
        BackEndDiffers: When a sample's ids are not the reference's.
    """
    collected = Collected()
    places: deque[int] = deque()  # file index of each chunk that was not yet taken
    tasks = _tasks(plan, collected, places, plan.config.data.max_samples)
    for result in in_order(_seen(engine.run(tasks), on_progress, proof)):
        _take(collected, places.popleft(), result, on_reject)
    if proof is not None:
        proof.finish()
    for item in collected.files:
        for note in item.info.notes if item.info else ():
            collected.found.note(note, Place(item.path), plan.policy)
    return collected


def _seen(
    results: Iterable[tuple[int, ChunkResult]],
    on_progress: Callable[[ChunkResult], None] | None,
    proof: BackEndProof | None,
) -> Iterator[tuple[int, ChunkResult]]:
    """What is done with a result when it comes, whatever its turn."""
    for index, result in results:
        if proof is not None:
            proof.add(result)
        result = result._replace(sample=None)
        if on_progress is not None:
            on_progress(result)
        yield index, result


def _tasks(plan: Plan, collected: Collected, places: deque[int], maximum: int | None) -> Iterator[Task]:
    for number, source in enumerate(plan.sources):
        seen = 0
        # with a drawn sample or a part of the set, which records are the first N is known only at the end
        head_only = source.dataset.num_samples is None and source.dataset.split == "train"
        for path in source.files:
            shown = named(path)  # no user name, password or query of a URL gets into a finding or a manifest
            totals = FileTotals(number, shown, base=seen)
            collected.files.append(totals)
            at = len(collected.files) - 1
            for item in scan(path, plan.limits):
                if not isinstance(item, Chunk):
                    totals.info = item
                    continue
                wanted = -1
                if maximum is not None and head_only and item.records >= 0:
                    wanted = min(item.records, max(maximum - seen, 0))
                    totals.not_taken += item.records - wanted
                    if wanted == 0:
                        seen += item.records
                        continue
                    wanted = -1 if wanted == item.records else wanted
                seen += max(item.records, 0)
                places.append(at)
                yield Task(number, shown, item, wanted, check=item.index == 0 and len(collected.files) <= CHECKED_FILES)


def _take(collected: Collected, at: int, result: ChunkResult, on_reject: Callable[[int, Reject], None] | None) -> None:
    totals = collected.files[at]
    totals.read += result.read
    totals.rejected.update(result.rejected)
    collected.found.merge(result.findings, result.counts)
    collected.reused += result.reused
    collected.text_bytes += result.text_bytes
    collected.checked_texts += result.checked_texts
    collected.seen.setdefault(result.source, Counter()).update(result.seen)
    totals.counts.update({rule: count for (rule, _), count in result.counts.items()})
    if on_reject is not None:
        for reject in result.rejects:
            on_reject(result.source, reject)
    state = collected.setstates.get(result.source)
    collected.setstates[result.source] = result.setstate if state is None else state.merge(result.setstate)
    collected.chunks.append((result.source, at, result._replace(rejects=[], findings=[], setstate=None)))


STOPS = ("mapping.empty-field", "set.wrong-format")  # a set that breaks these is not what it is read as


def check_set(plan: Plan, collected: Collected) -> None:
    """Adds the findings about whole data sets to what was collected."""
    views = []
    for number, source in enumerate(plan.sources):
        state = collected.setstates.get(number) or SetState(source.files[0], source.spec.format)
        spec = source.spec
        views.append(SetView(spec.name, spec.format, spec.fields, state, source.split, source.dataset.declared))
    found = set_findings(views, plan.policy)
    collected.found.merge(found.findings, found.counts)


TRAITS = {
    "empty-thought": ("template.empty-thought", "get an empty thought"),
    "thought-stripped": ("template.thought-stripped", "lose reasoning"),
    "default-system": ("template.default-system", "get the template's own system prompt"),
}


def check_traits(plan: Plan, collected: Collected) -> None:
    """Adds, for each data set, what the template put in or took out, with the share of records; and what of the
    template the tokenizer lacks."""
    if plan.fitted is not None and plan.encode is not None and plan.fitted.missing_marks:
        marks = ", ".join(plan.fitted.missing_marks)
        count = len(plan.fitted.missing_marks)
        text = f"the tokenizer has no token for {count} marks of template {plan.encode.template}"
        note = Note("template.missing-marks", "", text, shown(marks))
        collected.found.note(note, Place(plan.encode.tokenizer), plan.policy)
    for number, seen in sorted(collected.seen.items()):
        source = plan.sources[number]
        # those that were rejected before are in neither number, those that the cut rejects in both
        rendered = seen["records"]
        for trait in sorted(TRAITS.keys() & seen.keys()):
            rule, what = TRAITS[trait]
            text = f"{seen[trait]} of {rendered} records ({100 * seen[trait] / rendered:.0f} %) {what}"
            path = source.files[0] if source.files else source.spec.name
            collected.found.note(Note(rule, "", text), Place(path), plan.policy)


def stop_on_mapping(collected: Collected) -> None:
    """Raises DataFault when a whole set is read with a wrong map: its rows would teach nothing of what is meant."""
    wrong = [found for found in collected.found.findings if found.rule in STOPS and found.severity == "error"]
    if wrong:
        raise DataFault(
            [f"{found.path}: {found.message} [{found.rule}]" for found in wrong],
            hint=next((found.hint for found in wrong if found.hint), "name the keys in dataset_info.json (`columns`)"),
        )


def validation_report(
    runs: Sequence[tuple[Plan, Collected]], *, repaired: int = 0, remarks: Sequence[str] = (), elapsed_s: float = 0.0
) -> ValidationReport:
    """What one or several runs over data sets found, as one report.

    Args:
        runs: Each run's plan and what it collected.
        repaired: Records that a copy holds in repaired form.
        remarks: Lines about the run as a whole, such as formats that were found out.
        elapsed_s: Seconds that the runs took together.
    """
    inputs, counts, findings = [], Counter[tuple[str, str]](), []
    for plan, collected in runs:
        counts.update(collected.found.counts)
        findings += collected.found.findings
        for item in collected.files:
            rejected = sum(item.rejected.values())
            inputs.append(
                InputReport(
                    path=item.path,
                    sha256=item.info.sha256 if item.info else "",
                    bytes=item.info.bytes if item.info else 0,
                    format=_format_of(plan.sources[item.source]),
                    read=item.read,
                    kept=item.read - rejected,
                    rejected=rejected,
                )
            )
    return make_report(inputs, counts, findings, repaired=repaired, remarks=remarks, elapsed_s=elapsed_s)


def _format_of(source: Source) -> str:
    detection = source.detection
    nothing_told = detection is not None and detection.format is None and not detection.counts
    return "unknown" if nothing_told else source.spec.format
