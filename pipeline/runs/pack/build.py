"""Building an output: chunks through the engine, order, rows, shards, manifest, and the rename that publishes it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.config import worker_count
from pipeline.engine import Engine
from pipeline.engine.open import team_size
from pipeline.output.damage import write_stamps
from pipeline.output.ledger import SourceLedger, total
from pipeline.output.manifest import CACHE, KEYS, MANIFEST, dump, listed_files
from pipeline.output.publish import new_build, publish
from pipeline.plan.types import Plan
from pipeline.progress import Progress
from pipeline.runs.collect import Collected, check_set, check_traits, stop_on_mapping
from registry.errors import DataFault, MachineFault
from stages.core.atomic_io import make_folder, sweep, sync_folder, write_whole
from stages.core.urls import is_url

from . import disk_space
from .cache_key import input_digest, run_key
from .example_table import make_table
from .make_manifest import run_block
from .order import arrange, remedy_of_empty
from .read_chunks import ChunkReader, Identity, Log, Read, prune
from .rows import RowsOfSplits, make_rows
from .template_check import Proof, note_proof
from .write_documents import write_documents
from .write_splits import check_split, write_splits


@dataclass(frozen=True)
class Request:
    """What is to be built.

    identity: None when nothing was there to compare with, so that the inputs are hashed while they are read. started:
    `time.perf_counter` at the beginning of the run. reasons: why it is built, a line each.
    """

    plan: Plan
    out: Path
    identity: Identity | None
    log: Log
    started: float
    reasons: list[str]
    progress: Progress | None = None


@dataclass
class Outcome:
    """What `prepare` did. state: "written" or "up to date". elapsed_s: seconds of each part.

    place: the URL of an output behind one; `out` is then the folder that it is built in, and may be empty.
    """

    out: Path
    state: str
    manifest: dict[str, Any]
    collected: Collected | None = None
    plan: Plan | None = None
    reasons: list[str] = field(default_factory=list)
    elapsed_s: dict[str, float] = field(default_factory=dict)
    place: str = ""

    @property
    def shown(self) -> str:
        """Where the output is, for a person: `out`, or the URL that was built there."""
        return self.place or os.fspath(self.out)


class _Clock:
    """Seconds of each part of a run."""

    def __init__(self, started: float) -> None:
        self.elapsed_s = {"plan": time.perf_counter() - started}
        self._started = started
        self._mark = started

    def start(self) -> None:
        """What follows belongs to the next part."""
        self._mark = time.perf_counter()

    def lap(self, part: str) -> None:
        """Ends a part, and begins the next one."""
        self.elapsed_s[part] = time.perf_counter() - self._mark
        self.start()

    def stop(self) -> dict[str, float]:
        """The parts, with the whole."""
        self.elapsed_s["total"] = time.perf_counter() - self._started
        return self.elapsed_s


def build_output(request: Request, engines: ExitStack) -> Outcome:
    """Reads, arranges, writes and publishes. Raises a Fault; what was in the folder before is then untouched.

    Args:
        request: What is to be built, and where.
        engines: Closes the workers, also when something goes wrong.
    """
    clock = _Clock(request.started)
    build = new_build(request.out)
    cache = request.out / CACHE / "chunks"
    for folder in (build / "lineage", build / "rejects", build / CACHE, cache):
        make_folder(folder)
    workers = _team(request)
    reader = ChunkReader(request.plan, cache, engines, request.log)
    _announce(request, reader.plan, cache)
    clock.start()
    read = _read(request, reader, build / "rejects", workers)
    clock.lap("read, validate, tokenize")
    made = _arrange(read)
    clock.lap("arrange, pack")
    splits, for_datasets = _write(request, read, made, build, reader.engine)
    engines.close()
    sweep(build)  # a worker that died in the middle of a shard left its part
    clock.lap("write shards")
    manifest = write_documents(read, made, (splits, for_datasets), build)
    manifest["run"] = run_block(read.plan, request.started, workers, read.collected)
    _publish(request, read.identity, manifest, build)
    try:
        prune(cache, {Path(path).stem for path in made.table.caches})
    except MachineFault as fault:
        request.log(f"warning: the output is complete, but cleaning up failed: {fault.problems[0]}")
    clock.lap("publish")
    return Outcome(request.out, "written", manifest, read.collected, read.plan, request.reasons, clock.stop())


def _team(request: Request) -> int:
    """How many workers there are; logs a line when memory allows fewer than were requested."""
    config = request.plan.config
    workers = team_size(config)
    if workers < worker_count(config):
        request.log(f"{workers} worker(s) instead of {worker_count(config)}: more do not fit into memory_limit")
    return workers


def _announce(request: Request, plan: Plan, cache: Path) -> None:
    disk_space.warn("this run will write", sum(disk_space.expected_bytes(plan, cache)), request.out, request.log)
    if request.progress is not None:
        size, exact = disk_space.text_bytes(plan)
        request.progress.expect(size if exact else 0)


def _read(request: Request, reader: ChunkReader, rejects: Path, workers: int) -> Read:
    """Every chunk, and beside it the proof of the template. Raises MachineFault for a file that changed meanwhile."""
    with Proof(reader.plan, request.out / CACHE) as proving:
        collected, writer = reader.read(rejects, request.progress)
        proof = proving.result()
    reader.release(workers)
    return Read(reader.plan, collected, writer, proof, _identity_of(reader.plan, collected, request.identity))


def _arrange(read: Read) -> RowsOfSplits:
    """The findings about whole sets, and the rows. Raises DataFault when a map is wrong or nothing is left."""
    plan, collected = read.plan, read.collected
    check_set(plan, collected)
    check_traits(plan, collected)
    note_proof(plan, collected, read.proof)
    stop_on_mapping(collected)
    assert plan.encode is not None
    table = make_table(collected, plan.encode.cut.reserved_tokens)
    arranged = arrange(plan, collected, table)
    check_split(plan, collected, table, arranged)
    broken = [line for ledger in arranged.ledgers for line in ledger.problems()]
    if broken:
        raise AssertionError(f"the ledger does not close: {broken}")
    if not any(len(order) for order in arranged.splits.values()):
        raise DataFault(
            "no record is left to train on: " + why_empty(arranged.ledgers, collected),
            hint=remedy_of_empty(arranged.ledgers, collected, plan.config.words()),
        )
    return RowsOfSplits(
        table, arranged, {name: make_rows(plan, table, order) for name, order in arranged.splits.items()}
    )


def _write(
    request: Request, read: Read, made: RowsOfSplits, build: Path, engine: Engine[Any, Any]
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Writes the shards; returns the manifest's `splits`, and its entries for the files of `datasets`. Raises
    MachineFault when the disk says no."""
    kept_tokens = sum(int(rows.tokens.sum()) for rows in made.rows.values())
    disk_space.warn("the shards need", disk_space.shard_bytes(read.plan, kept_tokens), request.out, request.log)
    on_shard = request.progress.shard if request.progress is not None else None
    return write_splits(read.plan, made.table, made.rows, build, engine, on_shard)


def _publish(request: Request, identity: Identity, manifest: dict[str, Any], build: Path) -> None:
    """Writes the manifest, last of all, and renames the build to the output."""
    write_whole(build / CACHE / KEYS, orjson.dumps(identity[1], option=orjson.OPT_NON_STR_KEYS))
    write_stamps(build, listed_files(manifest))
    write_whole(build / MANIFEST, dump(manifest))
    for folder in (build, build / "lineage", build / "rejects"):
        sync_folder(os.fspath(folder))
    if warning := publish(build, request.out):
        request.log(f"warning: {warning}")


def why_empty(ledgers: Sequence[SourceLedger], collected: Collected) -> str:
    """Why no record is left: what the files lack, or where the records went."""
    infos = [item.info for item in collected.files if item.info]
    if not any(info.records for info in infos):
        named = [f"{info.path}: {', '.join(note.message for note in info.notes) or 'no record'}" for info in infos]
        return "; ".join(named[:5]) + (f"; and {len(named) - 5} more files without a record" if len(named) > 5 else "")
    summed = total(ledgers)
    parts = [f"{count} rejected by {rule}" for rule, count in summed.rejected.most_common(3)]
    parts += [f"{count} {reason}" for reason, count in summed.dropped.most_common(2)]
    return ", ".join(parts) or "nothing was sampled"


def _identity_of(plan: Plan, collected: Collected, known: Identity | None) -> Identity:
    """The run's key and what it is made of, by the bytes that were read.

    Raises MachineFault that names the files which were other bytes when the key was made before.
    """
    paths = [path for source in plan.sources for path in source.files]
    if known is None:
        read = {
            path: item.info.sha256 if item.info is not None and not is_url(path) else input_digest(path)
            for path, item in zip(paths, collected.files, strict=True)
        }
        return run_key(plan, read)
    changed = [
        f"{item.path}: changed while it was being read"
        for item, entry in zip(collected.files, known[1]["read"]["inputs"], strict=True)
        # a store's own digest holds a colon, and cannot be compared
        if item.info is not None and ":" not in entry["sha256"] and entry["sha256"] != item.info.sha256
    ]
    if changed:
        raise MachineFault(changed, hint="let its writer finish, then start again")
    return known
