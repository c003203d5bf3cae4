"""The manifest of a run, made of what was planned, collected and written."""

from __future__ import annotations

import platform
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.installation import DISTRIBUTION, prep_version, version_of
from pipeline.output.ledger import SourceLedger, total
from pipeline.output.manifest import SCHEMA_VERSION
from pipeline.plan.types import Plan
from pipeline.runs.collect import Collected
from registry.kinds import ROW_KINDS
from stages.core.urls import public
from stages.tokenize.fitted import vocabulary_digest

from .cache_key import RECIPE_KEYS, row_keys


@dataclass(frozen=True)
class Written:
    """What a run wrote. ledgers: one a source. splits, listed: the manifest's entries for shards and other files."""

    ledgers: list[SourceLedger]
    splits: dict[str, dict[str, Any]]
    listed: list[dict[str, Any]]


def make_manifest(
    plan: Plan, collected: Collected, written: Written, key: str, verdict: dict[str, Any]
) -> dict[str, Any]:
    """The document of manifest.json, but for its `run`.

    Args:
        plan: What was to be done.
        collected: What was read and found.
        written: What stands in the output.
        key: The cache key of the run.
        verdict: What is known of the back end that made the tokens.
    """
    encode, config = plan.encode, plan.config
    assert encode is not None
    cutoff = config.encode.cutoff_len
    for entry in written.splits.values():
        entry["fill_rate"] = round(entry["tokens"] / max(entry["rows"] * cutoff, 1), 6) if plan.packed else None
    names = source_names(plan)
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "key": key,
        "kind": ROW_KINDS[plan.kind].shards,
        "stage": plan.stage,
        "packed": plan.packed,
        "cutoff_len": cutoff,
        "compat": encode.compat,
        "template": {"name": encode.template, "sha256": encode.template_sha256, "date": encode.options.template_date},
        "tokenizer": _tokenizer(plan, verdict),
        "cut": asdict(encode.cut) | {"overlong": encode.overlong},
        "recipe": _recipe(plan),
        "options": {name: config.values.get(name) for name in row_keys()},
        "inputs": _inputs(plan, collected, names),
        "ledger": total(written.ledgers).as_dict()
        | {"sources": {name: ledger.as_dict() for name, ledger in zip(names, written.ledgers, strict=True)}},
        "findings": dict(sorted(_counts(collected).items())),
        "splits": written.splits,
        "files": written.listed,
    }
    manifest["mixture"] = mixture(plan, written.ledgers)
    manifest["truncated"] = {
        source.spec.name: _cut_counts(collected, number) for number, source in enumerate(plan.sources)
    }
    return manifest


def _tokenizer(plan: Plan, verdict: dict[str, Any]) -> dict[str, Any]:
    encode, fitted = plan.encode, plan.fitted
    assert encode is not None and fitted is not None
    return {
        "sha256": encode.tokenizer_sha256,
        "vocabulary_sha256": vocabulary_digest(fitted.vocabulary, fitted.size),
        "vocab_size": fitted.size,
        "bos_id": fitted.ids.bos,
        "eos_id": fitted.ids.eos,
        "eos_token": fitted.ids.eos_text,
        "pad_id": fitted.pad,
        "added": [{"token": grown.token, "id": grown.id, "asked_by": grown.requested_by} for grown in fitted.growth],
        "check": verdict,
    }


def _inputs(plan: Plan, collected: Collected, names: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "path": item.path,
            "source": names[item.source],
            "split": plan.sources[item.source].split,
            "format": plan.sources[item.source].spec.format,
            "sha256": item.info.sha256 if item.info else "",
            "bytes": item.info.bytes if item.info else 0,
            "records": item.read + item.not_taken,
            **_license(plan, item.source),
        }
        for item in collected.files
    ]


def _recipe(plan: Plan) -> dict[str, Any]:
    """Which data was requested, in the user's words, without the secrets of a URL."""
    found: dict[str, Any] = {}
    for name in RECIPE_KEYS:
        value = plan.config.values.get(name)
        if value:
            found[name] = [public(str(item)) for item in value] if isinstance(value, list) else public(str(value))
    return found


def _license(plan: Plan, source: int) -> dict[str, str]:
    given = plan.sources[source].dataset.license
    return {"license": given} if given else {}


def _cut_counts(collected: Collected, source: int) -> dict[str, int]:
    """Records of a source that lost something to the length limit; an answer that is cut has lost its stop token."""
    counts: Counter[str] = Counter()
    for item in collected.files:
        if item.source == source:
            counts.update({rule: count for rule, count in item.counts.items() if rule.startswith("length.")})
    return dict(sorted(counts.items()))


def mixture(plan: Plan, ledgers: list[SourceLedger]) -> dict[str, dict[str, Any]]:
    """Each training source's share: requested, and realized in records and in trained tokens.

    Args:
        plan: What was to be done.
        ledgers: One a source of the plan, in its order.

    Returns:
        By the name of the source. `asked` is None where no share was requested.
    """
    probs = plan.config.mix.interleave_probs
    train = [number for number, source in enumerate(plan.sources) if source.split == "train"]
    records = sum(ledgers[number].examples for number in train)
    trained = sum(ledgers[number].trained_tokens for number in train)
    return {
        plan.sources[number].spec.name: {
            "asked": float(probs[place]) if place < len(probs) else None,
            "examples": ledgers[number].examples,
            "examples_share": round(ledgers[number].examples / max(records, 1), 6),
            "trained_tokens": ledgers[number].trained_tokens,
            "trained_tokens_share": round(ledgers[number].trained_tokens / max(trained, 1), 6),
        }
        for place, number in enumerate(train)
    }


def source_names(plan: Plan) -> list[str]:
    """A name for each source: the data set's, with the split where one set serves two."""
    names = [source.spec.name for source in plan.sources]
    return [
        name if names.count(name) == 1 else f"{name} ({source.split})"
        for name, source in zip(names, plan.sources, strict=True)
    ]


def _counts(collected: Collected) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (rule, _), count in collected.found.counts.items():
        counts[rule] = counts.get(rule, 0) + count
    return counts


def run_block(plan: Plan, started: float, workers: int, collected: Collected) -> dict[str, Any]:
    """The manifest's `run`: what may differ between two runs that write the same rows.

    Args:
        plan: What was to be done.
        started: `time.perf_counter` at the beginning of the run.
        workers: Processes that were used.
        collected: What was read; its chunks are counted.
    """
    names = ("numpy", "pyarrow", "orjson", "tokenizers", "fastokens", "gigatoken", "jsonschema-rs")
    return {
        "config": plan.config.path,
        "model_name_or_path": plan.config.model.model_name_or_path,
        "seconds": round(time.perf_counter() - started, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "workers": workers,
        "chunks": len(collected.chunks),
        "chunks_reused": collected.reused,
        "python": platform.python_version(),
        "versions": {DISTRIBUTION: prep_version(), **{name: version_of(name) or "unknown" for name in names}},
    }
