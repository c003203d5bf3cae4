"""Prepare: a configuration becomes an OUT folder of shards; the way of the data from end to end.

    plan -> lock OUT -> up to date? -> collect (chunks) -> arrange (rows) -> write shards -> manifest -> publish

What a run depends on is one key (`run_key`): the input bytes, the tokenizer files, the template's text, every option
that matters and each stage's version. An OUT whose manifest carries that key is up to date.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.output.manifest import MANIFEST
from pipeline.output.open import local_copy, read_manifest
from pipeline.output.publish import clean, locked, open_output
from pipeline.output.store import is_store, local_folder
from pipeline.plan import make_plan
from pipeline.plan.types import Plan
from pipeline.progress import Progress
from registry.errors import BusyFault, DataFault, MachineFault

from .build import Identity, Log, Outcome, build_output
from .cache_key import NEW_OUTPUT, digest_inputs, reasons_to_build, run_key

if TYPE_CHECKING:
    from pipeline.output.remote_publish import RemoteOutput


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
            over, hint="fix the records (see rejects/ in the output), or raise max_rejected to go on without them"
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
    from pipeline.output.remote_publish import RemoteOutput

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
            identity: Identity | None = None
            if remote is not None or os.path.lexists(out / MANIFEST):
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
    plan: Plan, out: Path, identity: Identity | None, log: Log, started: float, progress: Progress | None
) -> Outcome:
    """OUT as it has to be: found up to date, or built. identity: None when there is nothing to compare with."""
    reasons = reasons_to_build(out, *(identity or ("", {})))
    if not reasons:
        return Outcome(out, "up to date", read_manifest(out), plan=plan)
    for line in reasons:  # told before hours of work, not after them
        if line != NEW_OUTPUT:  # the usual case needs no word
            log(line)
    with ExitStack() as engines:
        return build_output(plan, out, identity, log, started, reasons, progress, engines)
