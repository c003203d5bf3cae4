"""Prepare: a configuration becomes an OUT folder of shards; the way of the data from end to end.

    plan -> lock OUT -> up to date? -> collect (chunks) -> arrange (rows) -> write shards -> manifest -> publish

What a run depends on is one key (`run_key`): the input bytes, the tokenizer files, the template's text, every option
that matters and each stage's version. An OUT whose manifest carries that key is up to date.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.config.keys import keys
from pipeline.output.manifest import MANIFEST
from pipeline.output.open import RUN_SHARDS, local_copy, read_manifest
from pipeline.output.publish import clean, locked, open_output
from pipeline.output.store import is_store, local_folder
from pipeline.plan import make_plan
from pipeline.plan.types import Plan
from pipeline.progress import Progress
from registry.errors import BusyFault, DataFault, Fault, MachineFault

from .build import Outcome, Request, build_output
from .cache_key import NEW_OUTPUT, digest_inputs, reasons_to_build, run_key
from .read_chunks import Identity, Log
from .summary import pack_summary, rejected_too_many

if TYPE_CHECKING:
    from pipeline.output.remote_publish import RemoteOutput

_MAKE_TOKENS = (
    "template", "cutoff_len", "train_on_prompt", "mask_history", "default_system", "tool_format", "enable_thinking",
    "split_special_tokens",
)  # fmt: skip


def output_folder(config: Config, *, for_train: bool = False) -> Path:
    """OUT: `tokenized_path` (-o), else <output_dir>/prepared for train, prepared/<data sets>-<stage> for pack."""
    given = config.pack.tokenized_path
    if given:
        return local_folder(given)
    if for_train:
        return Path(config.train.output_dir) / RUN_SHARDS
    names = [Path(name).name.split(".")[0] or "data" for name in config.data.dataset or config.data.eval_dataset]
    folder = Path("prepared") / f"{'-'.join(names)}-{config.method}"
    return folder.with_name(f"{folder.name}-{_model_name(config)}") if _is_of_another_model(folder, config) else folder


def _model_name(config: Config) -> str:
    assert config.model.model_name_or_path is not None  # the configuration is refused without it
    return Path(os.path.abspath(config.model.model_name_or_path)).name


def _is_of_another_model(folder: Path, config: Config) -> bool:
    """Whether the output at its usual place was made for another model, which would be replaced."""
    try:
        run = read_manifest(folder).get("run", {})
    except Fault:
        return False
    made_for = run.get("model_name_or_path") if isinstance(run, dict) else None
    return isinstance(made_for, str) and bool(made_for) and Path(made_for).name != _model_name(config)


def ensure_prepared(config: Config, log: Log, *, quiet: bool = True) -> Path:
    """OUT for training: prepared if need be, up to date.

    Args:
        config: As loaded for `train` or `predict`.
        log: Takes a line for a person, those of the pack summary among them.
        quiet: Show no progress.

    Raises:
        DataFault: Too many records were rejected.
    """
    given = config.pack.tokenized_path
    if given and not config.data.dataset and not config.data.eval_dataset:
        folder = open_output_of(given, log)
        told = made_otherwise(config, read_manifest(folder))
        if told:
            log(f"note: {given} was packed with {told}; other values in this configuration change nothing")
        return folder
    with Progress(quiet=quiet) as progress:
        outcome = prepare_output(config, log, for_train=True, progress=progress)
    if outcome.state == "written":
        for note in outcome.plan.notes if outcome.plan else ():
            log(f"note: {note}")
        for line in pack_summary(outcome).partition("\n\n")[0].splitlines():  # what comes next is the training
            log(line)
    over = rejected_too_many(config, outcome.manifest)
    if over:
        rules = sorted(outcome.manifest["ledger"]["rejected"].items(), key=lambda item: (-item[1], item[0]))
        raise DataFault(
            [over, *(f"  {count:,} by {rule}" for rule, count in rules[:6])],
            hint=f"the records and why: {outcome.shown}/rejects; fix them, or raise max_rejected to go on without them",
        )
    return open_output_of(given, log) if given and is_store(given) else outcome.out


def made_otherwise(config: Config, manifest: Mapping[str, object]) -> str:
    """The options of a finished output that a configuration gives another value, as `key value, key value`.

    A key at its default counts as not given.
    """
    made = manifest["options"]
    assert isinstance(made, dict)  # the manifest was read through its schema
    told = [
        f"{name} {made[name]}"
        for name in _MAKE_TOKENS
        if name in made and config.get(name) not in (made[name], keys()[name].default)
    ]
    return ", ".join(told)


def open_output_of(given: str, log: Log) -> Path:
    """A finished output that is only to be read: its folder, or a local copy of what is behind a URL."""
    if is_store(given):
        return local_copy(given, log)
    read_manifest(given)
    return local_folder(given)


def prepare_output(
    config: Config, log: Log, *, for_train: bool = False, keep_cache: bool = True, progress: Progress | None = None
) -> Outcome:
    """Prepares the output that a configuration names, folder or URL.

    Args:
        config: As loaded for `pack` or `train`.
        log: Takes what a user should see while it runs, a line at a time.
        for_train: Whether the default folder is that of a training run.
        keep_cache: Whether the cache of chunks stays in the output; the key `cache` can only switch it off.
        progress: Shows how far the run is.

    Raises:
        Fault: When it cannot be prepared; the old output is then untouched.
    """
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


def prepare(
    config: Config,
    out: Path,
    log: Log,
    *,
    keep_cache: bool = True,
    progress: Progress | None = None,
    remote: RemoteOutput | None = None,
) -> Outcome:
    """Prepares OUT, and publishes it to `remote` if that is given.

    Args:
        config: As loaded for `pack` or `train`.
        out: The folder of the output, or the one that it is built in.
        log: Takes what a user should see while it runs, a line at a time.
        keep_cache: Whether the cache of chunks stays in the output.
        progress: Shows how far the run is.
        remote: The output behind a URL.

    Raises:
        Fault: When it cannot be prepared; the old output is then untouched.
    """
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
            except MachineFault as fault:  # what went wrong before it, if anything, is what matters
                log(f"warning: cleaning up failed, the next run does it: {fault.problems[0]}")


def _made(
    plan: Plan, out: Path, identity: Identity | None, log: Log, started: float, progress: Progress | None
) -> Outcome:
    """OUT as it has to be: found up to date, or built. identity: None when there is nothing to compare with."""
    reasons = reasons_to_build(out, *(identity or ("", {})))
    if not reasons:
        return Outcome(out, "up to date", read_manifest(out), plan=plan)
    for line in reasons:  # before hours of work, not after them
        if line != NEW_OUTPUT:  # the usual case needs no word
            log(line)
    with ExitStack() as engines:
        return build_output(Request(plan, out, identity, log, started, reasons, progress), engines)
