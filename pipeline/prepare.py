"""Prepare: a configuration becomes an OUT folder of shards; the way of the data from end to end.

    plan -> lock OUT -> up to date? -> collect (chunks) -> arrange (rows) -> write shards -> manifest -> publish

What a run depends on is one key (`run_key`): the input bytes, the tokenizer files, the template's text, every option
that matters and each stage's version. An OUT whose manifest carries that key is up to date.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from registry.errors import BusyFault, DataFault, MachineFault
from stages.files import make_folder, remove_tree, sweep, write_whole
from stages.leftout import NAME as LEFT_OUT
from stages.leftout import write_left_out
from stages.read import is_url
from stages.specs import PROVEN
from stages.tokenize import MEDIUM_BYTES, BackEndDiffers

from . import space
from .arrange import Arranged, Table, arrange, left_out, make_table, total, why_empty
from .backend import BackEndProof
from .card import NAME as CARD
from .card import data_card, example_lengths
from .collect import Collected, collect
from .config import Config, worker_count
from .documents import Written, make_manifest, run_block, source_names
from .engines import Engine, is_inline, open_engine, team_size
from .identity import NEW_OUTPUT, digest_inputs, input_digest, reasons_to_build, run_key
from .manifest import CACHE, KEYS, MANIFEST, dump, self_digest
from .open_output import local_copy, read_manifest
from .plan import Plan, make_plan
from .progress import Progress
from .proof import Proof, note_proof
from .publish import clean, locked, new_build, open_output, publish
from .rejects import RejectWriter
from .rows import make_rows
from .setcheck import check_habits, check_set, check_split, stop_on_mapping
from .store import is_store, local_folder
from .summary import validation_report
from .tasks import Release, chunk_job
from .writesplits import write_splits

if TYPE_CHECKING:
    from .remote import RemoteOutput

Log = Callable[[str], None]
_Identity = tuple[str, dict[str, Any]]  # the run's key, and what it is made of


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


def output_folder(config: Config, *, for_train: bool = False) -> Path:
    """OUT: `tokenized_path` (-o), else <output_dir>/prepared for train, prepared/<data sets>-<stage> for pack."""
    given = config.pack.tokenized_path
    if given:
        return local_folder(given)
    if for_train:
        return Path(config.train.output_dir) / "prepared"
    names = [Path(name).name.split(".")[0] or "data" for name in config.data.dataset or config.data.eval_dataset]
    return Path("prepared") / f"{'-'.join(names)}-{config.method}"


def ensure_prepared(config: Config, log: Log) -> Path:
    """OUT for training: prepared if need be, up to date. Raises DataFault when too many records were rejected."""
    given = config.pack.tokenized_path
    if given and not config.data.dataset and not config.data.eval_dataset:
        return open_output_of(given, log)
    outcome = prepare_output(config, log, for_train=True)
    over = rejected_too_many(config, outcome.manifest)
    if over:
        raise DataFault(
            over, hint="mend the records (see rejects/ in the output), or raise max_rejected to go on without them"
        )
    return open_output_of(given, log) if given and is_store(given) else outcome.out


def open_output_of(given: str, log: Log) -> Path:
    """A finished output that is only to be read: its folder, or a local copy of what is behind a URL."""
    if is_store(given):
        return local_copy(given, log)
    read_manifest(given)
    return local_folder(given)


def prepare_output(
    config: Config, log: Log, *, for_train: bool = False, keep_cache: bool = True, progress: Progress | None = None
) -> Outcome:
    """Prepares the output that a configuration names, folder or URL. Raises a Fault."""
    given = config.pack.tokenized_path
    keep_cache = keep_cache and config.run.cache
    if not given or not is_store(given):
        return prepare(
            config, output_folder(config, for_train=for_train), log, keep_cache=keep_cache, progress=progress
        )
    from .remote import RemoteOutput

    remote = RemoteOutput(given, log)
    try:
        outcome = prepare(config, remote.folder, log, keep_cache=keep_cache, progress=progress, remote=remote)
    except BusyFault as fault:
        raise remote.named(fault) from None
    outcome.place = remote.store.shown
    return outcome


def rejected_too_many(config: Config, manifest: dict[str, Any]) -> str:
    """One line when more records were rejected than `max_rejected` allows, else an empty string."""
    allowed = config.data.max_rejected
    ledger = manifest["ledger"]
    read, rejected = ledger["read"], sum(ledger["rejected"].values())
    # a whole number is a count, a fraction a share
    most = int(allowed) if isinstance(allowed, int) else math.floor(allowed * read)
    if rejected <= most:
        return ""
    share = f"{100 * rejected / max(read, 1):.2f} %"
    return f"{rejected} of {read} records ({share}) were rejected; max_rejected allows {most}"


def prepare(
    config: Config,
    out: Path,
    log: Log,
    *,
    keep_cache: bool = True,
    progress: Progress | None = None,
    remote: RemoteOutput | None = None,
) -> Outcome:
    """Prepares OUT, and publishes it to `remote` if that is given. Raises a Fault; the old output is then untouched."""
    started = time.perf_counter()
    plan = make_plan(config, needs_tokens=True)
    open_output(out)
    with locked(out):
        try:
            identity: _Identity | None = None
            if remote is not None or (out / MANIFEST).exists():
                # else the inputs are hashed while they are read, and not once more before it
                identity = run_key(plan, digest_inputs(plan))
            there = remote.current(identity[0]) if remote is not None and identity is not None else None
            if there is not None:
                outcome = Outcome(out, "up to date", there, plan=plan)
            else:
                outcome = _made(plan, out, identity, log, started, progress)
                if remote is not None and remote.publish():
                    outcome.state = "written"
                    outcome.elapsed_s["total"] = time.perf_counter() - started
            if remote is not None and not keep_cache:
                remote.discard()
            return outcome
        finally:
            try:
                clean(out, keep_cache=keep_cache)
            except MachineFault as fault:  # what went wrong before it, if anything, is what has to be told
                log(f"warning: cleaning up failed, the next run does it: {fault.problems[0]}")


def _made(
    plan: Plan, out: Path, identity: _Identity | None, log: Log, started: float, progress: Progress | None
) -> Outcome:
    """OUT as it has to be: found up to date, or built. identity: None when there is nothing to compare with."""
    reasons = reasons_to_build(out, *(identity or ("", {})))
    if not reasons:
        return Outcome(out, "up to date", read_manifest(out), plan=plan)
    for line in reasons:  # told before hours of work, not after them
        if line != NEW_OUTPUT:  # the usual case needs no word
            log(line)
    with ExitStack() as engines:
        return _build(plan, out, identity, log, started, reasons, progress, engines)


# --- building ---------------------------------------------------------------------------------------------------------


def _build(
    plan: Plan,
    out: Path,
    identity: _Identity | None,
    log: Log,
    started: float,
    reasons: list[str],
    progress: Progress | None,
    engines: ExitStack,
) -> Outcome:
    config = plan.config
    elapsed: dict[str, float] = {"plan": time.perf_counter() - started}
    build = new_build(out)
    spool = out / CACHE / "chunks"
    for folder in (build / "lineage", build / "rejects", build / CACHE, spool):
        make_folder(folder)
    workers = team_size(config)
    if workers < worker_count(config):
        log(f"{workers} worker(s) instead of {worker_count(config)}: more do not fit into memory_limit")
    plan, engine = _open_engine(plan, engines, spool)  # first of all, so that its workers load meanwhile
    space.warn("this run will write", sum(space.expected_bytes(plan, spool)), out, log)
    if progress is not None:
        size, exact = space.text_bytes(plan)
        progress.expect(size if exact else 0)
    mark = time.perf_counter()
    with Proof(plan, out / CACHE) as proving:
        plan, collected, rejects, engine = _collect(plan, engine, engines, spool, build / "rejects", log, progress)
        proof = proving.result()
    # a small set takes no memory to speak of, and each of Ray's tasks may run anywhere
    if plan.input_bytes >= MEDIUM_BYTES and config.run.engine != "ray":
        for _ in engine.run([Release()] * (1 if is_inline(config, plan.input_bytes) else workers)):
            pass
    key, made_of = _identity_of(plan, collected, identity)
    elapsed["read, validate, tokenize"] = time.perf_counter() - mark
    mark = time.perf_counter()
    check_set(plan, collected)
    check_habits(plan, collected)
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
            hint="`prep validate CONFIG` shows what is wrong with each record",
        )
    splits_rows = {name: make_rows(plan, table, order) for name, order in arranged.splits.items()}
    elapsed["arrange, pack"] = time.perf_counter() - mark
    mark = time.perf_counter()
    kept_tokens = sum(int(rows.tokens.sum()) for rows in splits_rows.values())
    space.warn("the shards need", space.shard_bytes(plan, kept_tokens), out, log)
    splits = write_splits(plan, table, splits_rows, build, engine, progress.shard if progress is not None else None)
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
        _listed_file(build, "report.json", dump(report)),
        *rejects.files,
        *_left_out(table, arranged, build, encode.cut.kind),
    ]
    write_whole(build / "dataset_dict.json", dump({"splits": list(splits)}))
    written = Written(arranged.ledgers, splits, files_listed)
    manifest = make_manifest(plan, collected, written, key, _verdict(plan, collected))
    manifest["template_proof"] = proof
    card = data_card(manifest, report, example_lengths(table, arranged, source_names(plan)))
    manifest["files"].append(_listed_file(build, CARD, card.encode("utf-8")))
    manifest["sha256"] = self_digest(manifest)
    manifest["run"] = run_block(plan, started, workers, collected)
    write_whole(build / CACHE / KEYS, orjson.dumps(made_of, option=orjson.OPT_NON_STR_KEYS))
    write_whole(build / MANIFEST, dump(manifest))
    for folder in (build, build / "lineage", build / "rejects"):
        _sync(folder)
    if warning := publish(build, out):
        log(f"warning: {warning}")
    try:
        _prune(spool, set(table.spools))
    except MachineFault as fault:
        log(f"warning: the output is complete, but cleaning up failed: {fault.problems[0]}")
    elapsed["publish"] = time.perf_counter() - mark
    elapsed["total"] = time.perf_counter() - started
    return Outcome(out, "written", manifest, collected, plan, reasons, elapsed)


def _identity_of(plan: Plan, collected: Collected, known: _Identity | None) -> _Identity:
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
    from stages.files import sync_folder

    sync_folder(os.fspath(folder))


def _prune(spool: Path, used: set[str]) -> None:
    names = {Path(path).stem for path in used}
    for entry in sorted(spool.iterdir()) if spool.is_dir() else ():
        # nothing else goes: the folder may be a link to a place that holds more
        if entry.suffix in (".spool", PROVEN) and entry.stem not in names:
            remove_tree(entry)


def _open_engine(plan: Plan, engines: ExitStack, spool: Path) -> tuple[Plan, Engine[Any, Any]]:
    """The engine of the run, and the plan with the tokenizer file that its workers read."""
    encode, fitted = plan.encode, plan.fitted
    assert encode is not None and fitted is not None
    if not is_inline(plan.config, plan.input_bytes):
        path = spool.parent / "tokenizer.json"
        write_whole(path, fitted.json_text.encode("utf-8"))
        # with finished chunks in the cache a tokenizer may not be needed at all
        plan = replace(plan, encode=replace(encode, json_path=os.fspath(path), load_early=not any(spool.iterdir())))
    job = chunk_job(plan.batch_spec(os.fspath(spool)))
    return plan, engines.enter_context(open_engine(plan.config, job, plan.input_bytes))


def _collect(
    plan: Plan,
    engine: Engine[Any, Any],
    engines: ExitStack,
    spool: Path,
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
        _prune(spool, set())  # made by the back end that differs, in this run or in one that was killed
        plan, engine = _open_engine(replace(plan, encode=replace(plan.encode, back_end="tokenizers")), engines, spool)
        return _collect(plan, engine, engines, spool, rejects, log, progress)


def _verdict(plan: Plan, collected: Collected) -> dict[str, Any]:
    """The manifest's word on the tokenizer's back end."""
    assert plan.encode is not None
    return {"back_end": plan.encode.back_end, "checked_texts": collected.checked_texts, "differ": 0}


def _left_out(table: Table, arranged: Arranged, build: Path, kind: str) -> list[dict[str, Any]]:
    left = left_out(table, arranged)
    if not len(left.place):
        return []
    size, digest = write_left_out(os.fspath(build / LEFT_OUT), table.spools, left, kind)
    return [{"file": LEFT_OUT, "bytes": size, "sha256": digest}]


def _listed_file(build: Path, name: str, data: bytes) -> dict[str, Any]:
    return {"file": name, "bytes": len(data), "sha256": write_whole(build / name, data)}


__all__ = ["Outcome", "ensure_prepared", "output_folder", "prepare", "prepare_output", "rejected_too_many"]
