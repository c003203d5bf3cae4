"""Identity: what a run depends on, as one key, and why an output has to be made again.

The key is made of the input bytes,
every field of the data sets and of what a worker gets, the configuration keys that
affect rows, the severity of every rule, and a digest of prep's own code.
An OUT whose manifest carries it is up to date; `prep why` shows the parts.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
from pathlib import Path
from typing import Any

import orjson

from pipeline.config.keys import keys
from pipeline.output.damage import visible_damage
from pipeline.output.manifest import CACHE, KEYS, MANIFEST, is_ours
from pipeline.output.open import read_text
from pipeline.output.verify import file_sha256
from pipeline.plan.types import Plan, Source
from registry.errors import DataFault, UsageFault
from registry.rules import rules
from stages.core.fingerprint import canonical, code_digest
from stages.core.plain_file import read_plain
from stages.core.urls import is_url, public
from stages.readers.remote_file import identity

# fields of a data set: files and folder stand by content, license and notes are for people
NO_ROWS = ("files", "folder", "license", "notes", "declared")
LABELS = {"data sets": "data set "}
MOST = 8  # changes of one part that are named
NEW_OUTPUT = "new output"
RECIPE_KEYS = ("dataset", "eval_dataset", "dataset_dir", "format")


def digest_inputs(plan: Plan) -> dict[str, str]:
    """Path -> what its content is known by: a sha256, or a store's own digest of a file behind a URL."""
    return {path: input_digest(path) for source in plan.sources for path in source.files}


def input_digest(path: str) -> str:
    """What one input file's content is known by; reads it, unless its store says."""
    return identity(path) if is_url(path) else file_sha256(path)


def run_key(plan: Plan, digests: dict[str, str]) -> tuple[str, dict[str, dict[str, Any]]]:
    """The identity of a run, and what each stage's part of it is made of (for `prep why`)."""
    config = plan.config
    worker: dict[str, Any] = canonical(plan.batch_spec(None), "run")
    made_of: dict[str, dict[str, Any]] = {
        "read": {
            "inputs": [
                {
                    "source": source.spec.name,
                    "split": source.split,
                    "path": os.path.basename(public(path)),
                    "sha256": digests[path],
                }
                for source in plan.sources
                for path in source.files
            ],
        },
        "data sets": {_shown(source): _data_set(source) for source in plan.sources},
        "worker": {name: value for name, value in worker.items() if name != "code"},  # which stands below
        "config": {name: canonical(config.values.get(name), "run") for name in row_keys()},
        "rules": {rule: plan.policy.severity(rule) for rule in sorted(rules())},
        "code": {"prep's own version": _version(), "prep's source": code_digest()},
    }
    digest = hashlib.sha256(orjson.dumps(made_of, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))
    return digest.hexdigest(), made_of


@functools.cache
def row_keys() -> tuple[str, ...]:
    """The configuration keys whose very values the rows depend on, as keys.yaml says."""
    return tuple(name for name, key in keys().items() if key.affects == "rows" and not key.through)


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("prep-llm")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree: the digest of the source stands alone
        return "source"


def _shown(source: Source) -> str:
    return source.spec.name if source.split == "train" else f"{source.spec.name} ({source.split})"


def _data_set(source: Source) -> dict[str, Any]:
    """Every field of a resolved data set but where its files lie: those stand by their content."""
    found: dict[str, Any] = canonical(source.dataset, "run")
    return {name: value for name, value in found.items() if name not in NO_ROWS}


def reasons_to_build(out: Path, key: str, made_of: dict[str, Any]) -> list[str]:
    """Why OUT has to be built, one line each; empty when it is up to date."""
    if not os.path.lexists(out / MANIFEST):
        return ["no finished output yet"] if is_ours(out) and (out / CACHE / KEYS).exists() else [NEW_OUTPUT]
    try:
        manifest, text = read_text(out)
    except (DataFault, UsageFault) as fault:
        return [f"rebuilding: {fault.problems[0]}"]
    if manifest["key"] == key:
        seen = visible_damage(out, manifest, text)
        return [f"rebuilding: {seen}"] if seen else []
    try:
        before = orjson.loads(read_plain(out / CACHE / KEYS))
    except (OSError, orjson.JSONDecodeError, DataFault):
        return ["rebuilding: made with other settings or data"]
    if not isinstance(before, dict) or "code" not in before:
        return ["rebuilding: made by an older prep, whose key had other parts"]
    after = orjson.loads(orjson.dumps(made_of, option=orjson.OPT_NON_STR_KEYS))
    changed = []
    for part in after:
        if part != "worker":
            changed += _shortened(_changes(LABELS.get(part, f"{part}: "), before.get(part), after[part]))
    # what workers get follows from the rest, so it is named only when it is all that there is to name
    changed = changed or _shortened(_changes("worker: ", before.get("worker"), after["worker"]))
    return [f"rebuilding: changed since the last run: {', '.join(changed) or 'settings'}"]


def _changes(label: str, old: Any, new: Any) -> list[str]:
    """One phrase for each value that differs, `config: cutoff_len 512 -> 64`."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [f"{label.rstrip(': ')}{_step(old, new)}"]
    found = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _changes(f"{label}{name}: ", before, after)
        elif before != after:
            found.append(f"{label}{name}{_step(before, after)}")
    return found


def _shortened(phrases: list[str]) -> list[str]:
    return phrases if len(phrases) <= MOST else [*phrases[:MOST], f"and {len(phrases) - MOST} more"]


def _step(old: Any, new: Any) -> str:
    """` 512 -> 64` for a value that is short enough to be read."""
    before, after = (value if isinstance(value, str) else orjson.dumps(value).decode() for value in (old, new))
    return f" {before} -> {after}" if max(len(before), len(after)) <= 30 else ""
