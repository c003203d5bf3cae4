"""Building an output: chunks through the engine, order, rows, shards, manifest, and the rename that publishes it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from pipeline.config import worker_count
from pipeline.engine import Engine
from pipeline.engine.open import is_inline, open_engine, team_size
from pipeline.jobs.dispatch import Release, chunk_job
from pipeline.jobs.specs import PROVEN
from pipeline.output.damage import write_stamps
from pipeline.output.ledger import SourceLedger, total
from pipeline.output.manifest import CACHE, KEYS, MANIFEST, dump, listed_files, self_digest
from pipeline.output.publish import new_build, publish
from pipeline.output.rejects import RejectWriter
from pipeline.plan.types import Plan
from pipeline.progress import Progress
from pipeline.reports.data_card import NAME as CARD
from pipeline.reports.data_card import data_card
from pipeline.runs.collect import Collected, check_set, check_traits, collect, stop_on_mapping, validation_report
from pipeline.runs.tokenizer_backend import BackEndProof
from registry.errors import DataFault, MachineFault
from stages.core.atomic_io import make_folder, remove_tree, sweep, write_whole
from stages.core.urls import is_url
from stages.tokenize.backends import MEDIUM_BYTES, BackEndDiffers
from stages.writers.excluded import NAME as EXCLUDED
from stages.writers.excluded import write_excluded

from . import disk_space
from .cache_key import input_digest, run_key
from .example_table import Table, make_table
from .make_manifest import Written, make_manifest, run_block, source_names
from .order import Arranged, arrange, excluded
from .rows import make_rows
from .template_check import Proof, note_proof
from .write_splits import check_split, listed_file, write_splits


def why_empty(ledgers: Sequence[SourceLedger], collected: Collected) -> str:
    """Why no record is left: what the files lack, or where the records went."""
    infos = [item.info for item in collected.files if item.info]
    if not any(info.records for info in infos):
        told = [f"{info.path}: {', '.join(note.message for note in info.notes) or 'no record'}" for info in infos]
        return "; ".join(told[:5]) + (f"; and {len(told) - 5} more files without a record" if len(told) > 5 else "")
    summed = total(ledgers)
    parts = [f"{count} rejected by {rule}" for rule, count in summed.rejected.most_common(3)]
    parts += [f"{count} {reason}" for reason, count in summed.dropped.most_common(2)]
    return ", ".join(parts) or "nothing was sampled"


def example_lengths(table: Table, arranged: Arranged, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each source, the spread of its examples' tokens before the cut, as often as they stand in the rows."""
    import numpy as np

    from pipeline.output.ledger import spread

    orders = list(arranged.splits.values())
    used = np.concatenate(orders) if orders else np.empty(0, dtype=np.int64)
    return {name: spread(table.tokens_in[used[table.source[used] == number]]) for number, name in enumerate(names)}


Log = Callable[[str], None]
Identity = tuple[str, dict[str, Any]]  # the run's key, and what it is made of


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


# --- building ---------------------------------------------------------------------------------------------------------


def build_output(
    plan: Plan,
    out: Path,
    identity: Identity | None,
    log: Log,
    started: float,
    reasons: list[str],
    progress: Progress | None,
    engines: ExitStack,
) -> Outcome:
    config = plan.config
    elapsed: dict[str, float] = {"plan": time.perf_counter() - started}
    build = new_build(out)
    cache = out / CACHE / "chunks"
    for folder in (build / "lineage", build / "rejects", build / CACHE, cache):
        make_folder(folder)
    workers = team_size(config)
    if workers < worker_count(config):
        log(f"{workers} worker(s) instead of {worker_count(config)}: more do not fit into memory_limit")
    plan, engine = _open_engine(plan, engines, cache)  # first of all, so that its workers load meanwhile
    disk_space.warn("this run will write", sum(disk_space.expected_bytes(plan, cache)), out, log)
    if progress is not None:
        size, exact = disk_space.text_bytes(plan)
        progress.expect(size if exact else 0)
    mark = time.perf_counter()
    with Proof(plan, out / CACHE) as proving:
        plan, collected, rejects, engine = _collect(plan, engine, engines, cache, build / "rejects", log, progress)
        proof = proving.result()
    # a small set takes no memory to speak of, and each of Ray's tasks may run anywhere
    if plan.input_bytes >= MEDIUM_BYTES and config.run.engine != "ray":
        for _ in engine.run([Release()] * (1 if is_inline(config, plan.input_bytes) else workers)):
            pass
    key, made_of = _identity_of(plan, collected, identity)
    elapsed["read, validate, tokenize"] = time.perf_counter() - mark
    mark = time.perf_counter()
    check_set(plan, collected)
    check_traits(plan, collected)
    note_proof(plan, collected, proof)
    stop_on_mapping(collected)
    encode = plan.encode
    assert encode is not None
    table = make_table(collected, encode.cut.reserved_tokens)
    arranged = arrange(plan, collected, table)
    check_split(plan, collected, table, arranged)
    broken = [line for ledger in arranged.ledgers for line in ledger.problems()]
    if broken:
        raise AssertionError(f"the ledger does not close: {broken}")
    if not any(len(order) for order in arranged.splits.values()):
        raise DataFault(
            "no record is left to train on: " + why_empty(arranged.ledgers, collected),
            hint=f"`prep validate {shlex.join(config.words())}` shows what is wrong with each record",
        )
    splits_rows = {name: make_rows(plan, table, order) for name, order in arranged.splits.items()}
    elapsed["arrange, pack"] = time.perf_counter() - mark
    mark = time.perf_counter()
    kept_tokens = sum(int(rows.tokens.sum()) for rows in splits_rows.values())
    disk_space.warn("the shards need", disk_space.shard_bytes(plan, kept_tokens), out, log)
    on_shard = progress.shard if progress is not None else None
    splits, for_datasets = write_splits(plan, table, splits_rows, build, engine, on_shard)
    engines.close()
    sweep(build)  # a worker that died in the middle of a shard left its part
    elapsed["write shards"] = time.perf_counter() - mark
    mark = time.perf_counter()
    for name, order in arranged.splits.items():
        splits[name]["examples"] = len(order)
    for figure in ("tokens", "trained_tokens"):
        written, accounted = sum(split[figure] for split in splits.values()), getattr(total(arranged.ledgers), figure)
        if written != accounted:
            raise AssertionError(f"the shards hold {written} {figure}, the ledger says {accounted}")
    report = validation_report([(plan, collected)]).as_dict()
    files_listed = [
        listed_file(build, "report.json", dump(report)),
        *for_datasets,
        *rejects.files,
        *_excluded(table, arranged, build, encode.cut.kind),
    ]
    written = Written(arranged.ledgers, splits, files_listed)
    manifest = make_manifest(plan, collected, written, key, _verdict(plan, collected))
    manifest["template_proof"] = proof
    card = data_card(manifest, report, example_lengths(table, arranged, source_names(plan)))
    manifest["files"].append(listed_file(build, CARD, card.encode("utf-8")))
    manifest["sha256"] = self_digest(manifest)
    manifest["run"] = run_block(plan, started, workers, collected)
    write_whole(build / CACHE / KEYS, orjson.dumps(made_of, option=orjson.OPT_NON_STR_KEYS))
    write_stamps(build, listed_files(manifest))
    write_whole(build / MANIFEST, dump(manifest))
    for folder in (build, build / "lineage", build / "rejects"):
        _sync(folder)
    if warning := publish(build, out):
        log(f"warning: {warning}")
    try:
        _prune(cache, set(table.caches))
    except MachineFault as fault:
        log(f"warning: the output is complete, but cleaning up failed: {fault.problems[0]}")
    elapsed["publish"] = time.perf_counter() - mark
    elapsed["total"] = time.perf_counter() - started
    return Outcome(out, "written", manifest, collected, plan, reasons, elapsed)


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


def _sync(folder: Path) -> None:
    from stages.core.atomic_io import sync_folder

    sync_folder(os.fspath(folder))


def _prune(cache: Path, used: set[str]) -> None:
    names = {Path(path).stem for path in used}
    for entry in sorted(cache.iterdir()) if cache.is_dir() else ():
        # nothing else goes: the folder may be a link to a place that holds more
        if entry.suffix in (".cache", PROVEN) and entry.stem not in names:
            remove_tree(entry)


def _open_engine(plan: Plan, engines: ExitStack, cache: Path) -> tuple[Plan, Engine[Any, Any]]:
    """The engine of the run, and the plan with the tokenizer file that its workers read."""
    encode, fitted = plan.encode, plan.fitted
    assert encode is not None and fitted is not None
    if not is_inline(plan.config, plan.input_bytes):
        path = cache.parent / "tokenizer.json"
        write_whole(path, fitted.json_text.encode("utf-8"))
        # with finished chunks in the cache a tokenizer may not be needed at all
        plan = replace(plan, encode=replace(encode, json_path=os.fspath(path), load_early=not any(cache.iterdir())))
    job = chunk_job(plan.batch_spec(os.fspath(cache)))
    return plan, engines.enter_context(open_engine(plan.config, job, plan.input_bytes))


def _collect(
    plan: Plan,
    engine: Engine[Any, Any],
    engines: ExitStack,
    cache: Path,
    rejects: Path,
    log: Log,
    progress: Progress | None,
) -> tuple[Plan, Collected, RejectWriter, Engine[Any, Any]]:
    """Runs the chunks; with the reference tokenizer when a fast back end turns out to give other ids."""
    assert plan.encode is not None
    try:
        with (
            BackEndProof(plan.encode, early=plan.encode.load_early) as proof,
            RejectWriter(rejects, [source.spec.name for source in plan.sources]) as writer,
        ):
            return plan, collect(plan, engine, writer.add, progress, proof), writer, engine
    except BackEndDiffers as differs:
        log(f"{differs.problems[0]}; the reference tokenizer is used, which is slower")
        engines.close()
        _prune(cache, set())  # made by the back end that differs, in this run or in one that was killed
        plan, engine = _open_engine(replace(plan, encode=replace(plan.encode, back_end="tokenizers")), engines, cache)
        return _collect(plan, engine, engines, cache, rejects, log, progress)


def _verdict(plan: Plan, collected: Collected) -> dict[str, Any]:
    """The manifest's word on the tokenizer's back end."""
    assert plan.encode is not None
    return {"back_end": plan.encode.back_end, "checked_texts": collected.checked_texts, "differ": 0}


def _excluded(table: Table, arranged: Arranged, build: Path, kind: str) -> list[dict[str, Any]]:
    left = excluded(table, arranged)
    if not len(left.place):
        return []
    size, digest = write_excluded(os.fspath(build / EXCLUDED), table.caches, left, kind)
    return [{"file": EXCLUDED, "bytes": size, "sha256": digest}]
