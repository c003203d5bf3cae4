"""Identity: what a run depends on, as one key, and why an output has to be made again.

The key is made of the input bytes, the tokenizer files, the template's text, every option that matters and each stage's
version. An OUT whose manifest carries it is up to date; `prep why` shows the parts.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from pipeline.jobs.encode import VERSIONS
from pipeline.output.manifest import CACHE, KEYS, MANIFEST, is_ours, listed_files
from pipeline.output.open import read_manifest
from pipeline.output.verify import file_sha256
from pipeline.plan.types import Plan
from registry.errors import DataFault, UsageFault
from stages.core.urls import is_url, public
from stages.pack import VERSION as PACK_VERSION
from stages.readers.remote_file import identity
from stages.writers.shard import VERSION as WRITE_VERSION

CONTENT_KEYS = (  # configuration keys that the rows depend on, beside the data and the tokenizer
    "stage", "template", "cutoff_len", "overlong", "packing", "packing_strategy", "train_on_prompt", "mask_history",
    "default_system", "tool_format", "enable_thinking", "preserve_thinking", "compat", "template_date",
    "split_special_tokens", "add_tokens", "add_special_tokens", "max_samples", "mix_strategy", "interleave_probs",
    "shuffle", "val_size", "eval_on_each_dataset", "seed", "shard_size", "rules", "strict", "profile",
)  # fmt: skip
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
    config, encode = plan.config, plan.encode
    assert encode is not None
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
        "validate": {
            "stage": plan.stage,
            "formats": [
                {
                    "format": source.spec.format,
                    "fields": {name: key for name, key in asdict(source.spec.fields).items() if key is not None},
                    "num_samples": source.dataset.num_samples,
                }
                for source in plan.sources
            ],
            "rules": asdict(plan.policy),
        },
        "tokenize": {"key": encode.key, "tokenizer": encode.tokenizer_sha256, "template": encode.template_sha256},
        "truncate": {"cut": asdict(encode.cut), "overlong": encode.overlong},
        "pack": {name: config.values.get(name) for name in CONTENT_KEYS},
        "versions": VERSIONS | {"pack": PACK_VERSION, "write": WRITE_VERSION},
    }
    digest = hashlib.sha256(orjson.dumps(made_of, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))
    return digest.hexdigest(), made_of


def reasons_to_build(out: Path, key: str, made_of: dict[str, Any]) -> list[str]:
    """Why OUT has to be built, one line each; empty when it is up to date."""
    if not (out / MANIFEST).exists():
        return ["no finished output yet"] if is_ours(out) and (out / CACHE / KEYS).exists() else [NEW_OUTPUT]
    try:
        manifest = read_manifest(out)
    except (DataFault, UsageFault) as fault:
        return [f"rebuilding: {fault.problems[0]}"]
    if manifest.get("key") == key:
        published = (out / MANIFEST).stat().st_mtime_ns  # the last file to be written
        for name, entry in listed_files(manifest).items():
            path = out / name
            if not path.is_file():
                return [f"rebuilding: {name} is missing"]
            held = path.stat()
            # hashing all of a large output takes minutes: only what was written later than the manifest is read
            touched = held.st_mtime_ns > published
            if held.st_size != entry["bytes"] or (touched and file_sha256(path) != entry["sha256"]):
                return [f"rebuilding: {name} is damaged"]
        return []
    changed = []
    try:
        before = orjson.loads((out / CACHE / KEYS).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return ["rebuilding: made with other settings or data"]
    after = orjson.loads(orjson.dumps(made_of, option=orjson.OPT_NON_STR_KEYS))
    for stage, parts in after.items():
        old = before.get(stage, {})
        changed += [f"{stage}: {name}{_step(old, parts, name)}" for name in parts if parts[name] != old.get(name)]
    return [f"rebuilding: changed since the last run: {', '.join(changed) or 'settings'}"]


def _step(old: dict[str, Any], new: dict[str, Any], name: str) -> str:
    """` (512 -> 64)` for a value that is short enough to be read."""
    if name not in old:
        return ""
    before, after = (orjson.dumps(part[name]).decode() for part in (old, new))
    return f" ({before} -> {after})" if max(len(before), len(after)) <= 30 else ""
