"""Prepare: a configuration becomes an OUT folder of shards; the way of the data from end to end.

    plan -> lock OUT -> up to date? -> collect (chunks) -> arrange (rows) -> write shards -> manifest -> publish

What a run depends on is one key (`run_key`): the input bytes, the tokenizer files, the template's text, every option
that matters and each stage's version. An OUT whose manifest carries that key is up to date.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from registry.errors import DataFault, MachineFault, UsageFault
from stages.encoding import VERSIONS, BackEndDiffers
from stages.files import make_folder, remove_tree, write_whole
from stages.leftout import NAME as LEFT_OUT
from stages.leftout import write_left_out
from stages.pack import VERSION as PACK_VERSION
from stages.read import identity, is_url, public
from stages.write import VERSION as WRITE_VERSION
from stages.write import Parts, ShardResult, ShardTask, write_shard

from .arrange import Arranged, Rows, SourceLedger, Table, arrange, left_out, make_rows, make_table, total
from .collect import SMALL_INPUT_BYTES, Collected, collect
from .config import Config, worker_count
from .manifest import NAME as MANIFEST
from .manifest import SCHEMA_VERSION, dump, read_manifest
from .plan import Plan, make_plan
from .proof import Proof, note_proof
from .publish import CACHE, KEYS, clean, is_ours, locked, new_build, open_output, publish
from .rejects import RejectWriter
from .setcheck import check_habits, check_set, check_split, stop_on_mapping
from .verify import file_sha256, listed_files, self_digest
from .workers import Job, inline, processes

Log = Callable[[str], None]

SHARD_BYTES_MOST = 256 << 20
SHARD_BYTES_LEAST = 32 << 20
CONTENT_KEYS = (  # configuration keys that the rows depend on, beside the data and the tokenizer
    "stage", "template", "cutoff_len", "overlong", "packing", "packing_strategy", "train_on_prompt", "mask_history",
    "default_system", "tool_format", "enable_thinking", "preserve_thinking", "compat", "template_date",
    "split_special_tokens", "add_tokens", "add_special_tokens", "max_samples", "mix_strategy", "interleave_probs",
    "shuffle",
    "val_size", "eval_on_each_dataset", "seed", "shard_size", "rules", "strict", "profile",
)  # fmt: skip
RECIPE_KEYS = ("dataset", "eval_dataset", "dataset_dir")


@dataclass
class Outcome:
    """What `prepare` did. state: "written" or "up to date". elapsed_s: seconds of each part."""

    out: Path
    state: str
    manifest: dict[str, Any]
    collected: Collected | None = None
    plan: Plan | None = None
    reasons: list[str] = field(default_factory=list)
    elapsed_s: dict[str, float] = field(default_factory=dict)


def output_folder(config: Config, *, for_train: bool = False) -> Path:
    """OUT: `tokenized_path` (-o), else <output_dir>/prepared for train, prepared/<data sets>-<stage> for pack."""
    given = config.text("tokenized_path")
    if given:
        return Path(given)
    if for_train:
        return Path(config.text("output_dir") or "trainer_output") / "prepared"
    names = [
        Path(name).name.split(".")[0] or "data" for name in config.items("dataset") or config.items("eval_dataset")
    ]
    return Path("prepared") / f"{'-'.join(names)}-{config.method}"


def ensure_prepared(config: Config, log: Log) -> Path:
    """OUT for training: prepared if need be, up to date. Raises DataFault when too many records were rejected."""
    given = config.text("tokenized_path")
    if given and not config.items("dataset") and not config.items("eval_dataset"):
        read_manifest(given)
        return Path(given)
    outcome = prepare(config, output_folder(config, for_train=True), log)
    over = rejected_too_many(config, outcome.manifest)
    if over:
        raise DataFault(
            over, hint="mend the records (see rejects/ in the output), or raise max_rejected to go on without them"
        )
    return outcome.out


def rejected_too_many(config: Config, manifest: dict[str, Any]) -> str:
    """One line when more records were rejected than `max_rejected` allows, else an empty string."""
    limit = config.get("max_rejected")
    ledger = manifest["ledger"]
    read, rejected = ledger["read"], sum(ledger["rejected"].values())
    allowed = 0.01 if limit is None else limit
    assert isinstance(allowed, (int, float))
    # a whole number is a count, a fraction a share
    most = int(allowed) if isinstance(allowed, int) else math.floor(allowed * read)
    if rejected <= most:
        return ""
    share = f"{100 * rejected / max(read, 1):.2f} %"
    return f"{rejected} of {read} records ({share}) were rejected; max_rejected allows {most}"


def prepare(
    config: Config, out: Path, log: Log, *, keep_cache: bool = True, progress: Callable[..., Any] | None = None
) -> Outcome:
    """Prepares OUT. Raises a Fault; the old output is then untouched."""
    started = time.perf_counter()
    plan = make_plan(config, needs_tokens=True)
    open_output(out)
    with locked(out):
        try:
            digests = _digest_inputs(plan)
            key, made_of = run_key(plan, digests)
            reasons = _reasons(out, key, made_of)
            if not reasons:
                return Outcome(out, "up to date", read_manifest(out), plan=plan)
            for line in reasons:
                log(line)
            return _build(plan, out, key, made_of, log, started, reasons, progress)
        finally:
            try:
                clean(out, keep_cache=keep_cache)
            except MachineFault as fault:  # what went wrong before it, if anything, is what has to be told
                log(f"warning: cleaning up failed, the next run does it: {fault.problems[0]}")


# --- identity ---------------------------------------------------------------------------------------------------------


def _digest_inputs(plan: Plan) -> dict[str, str]:
    """Path -> what its content is known by: a sha256, or a store's own digest of a file behind a URL."""
    paths = [path for source in plan.sources for path in source.files]
    return {path: identity(path) if is_url(path) else file_sha256(path) for path in paths}


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
                [source.spec.format, repr(source.spec.fields), source.dataset.num_samples] for source in plan.sources
            ],
            "rules": repr(plan.policy),
        },
        "tokenize": {"key": encode.key, "tokenizer": encode.tokenizer_sha256, "template": encode.template_sha256},
        "truncate": {"cut": repr(encode.cut), "overlong": encode.overlong},
        "pack": {name: config.values.get(name) for name in CONTENT_KEYS},
        "versions": VERSIONS | {"pack": PACK_VERSION, "write": WRITE_VERSION},
    }
    digest = hashlib.sha256(orjson.dumps(made_of, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))
    return digest.hexdigest(), made_of


def _reasons(out: Path, key: str, made_of: dict[str, Any]) -> list[str]:
    """Why OUT has to be built, one line each; empty when it is up to date."""
    if not (out / MANIFEST).exists():
        return ["no finished output yet"] if is_ours(out) and (out / CACHE / KEYS).exists() else ["new output"]
    try:
        manifest = read_manifest(out)
    except (DataFault, UsageFault) as fault:
        return [f"rebuilding: {fault.problems[0]}"]
    if manifest.get("key") == key:
        for name, entry in listed_files(manifest).items():
            if not (out / name).is_file():
                return [f"rebuilding: {name} is missing"]
            if (out / name).stat().st_size != entry["bytes"]:
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
        changed += [f"{stage}: {name}" for name in parts if parts[name] != old.get(name)]
    return [f"rebuilding: changed since the last run: {', '.join(changed) or 'settings'}"]


# --- building ---------------------------------------------------------------------------------------------------------


def _build(
    plan: Plan,
    out: Path,
    key: str,
    made_of: dict[str, Any],
    log: Log,
    started: float,
    reasons: list[str],
    progress: Callable[..., Any] | None,
) -> Outcome:
    config = plan.config
    elapsed: dict[str, float] = {"plan": time.perf_counter() - started}
    build = new_build(out)
    spool = out / CACHE / "chunks"
    for folder in (build / "lineage", build / "rejects", build / CACHE, spool):
        make_folder(folder)
    workers = worker_count(config)
    _warn_disk(plan, out, log)
    mark = time.perf_counter()
    with Proof(plan, out / CACHE) as proving:
        plan, collected, rejects = _collect(plan, spool, build / "rejects", workers, log, progress)
        proof = proving.result()
    _check_unchanged(collected, made_of)
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
            "no record is left to train on: " + _why_empty(arranged.ledgers),
            hint="`prep validate CONFIG` shows what is wrong with each record",
        )
    splits_rows = {name: make_rows(plan, table, order) for name, order in arranged.splits.items()}
    elapsed["arrange, pack"] = time.perf_counter() - mark
    mark = time.perf_counter()
    splits = _write_splits(plan, table, splits_rows, build, workers)
    elapsed["write shards"] = time.perf_counter() - mark
    mark = time.perf_counter()
    for name, order in arranged.splits.items():
        splits[name]["examples"] = len(order)
    for figure in ("tokens", "trained_tokens"):
        written, accounted = sum(split[figure] for split in splits.values()), getattr(total(arranged.ledgers), figure)
        if written != accounted:
            raise AssertionError(f"the shards hold {written} {figure}, the ledger says {accounted}")
    report = _report(plan, collected)
    files_listed = [
        _listed_file(build, "report.json", dump(report)),
        *rejects.files,
        *_left_out(table, arranged, build, encode.cut.kind),
    ]
    write_whole(build / "dataset_dict.json", dump({"splits": list(splits)}))
    manifest = _manifest(plan, collected, arranged.ledgers, splits, key, _verdict(plan, collected), files_listed)
    manifest["template_proof"] = proof
    manifest["sha256"] = self_digest(manifest)
    manifest["run"] = _run_block(plan, started, workers, collected)
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


def _check_unchanged(collected: Collected, made_of: dict[str, Any]) -> None:
    """The bytes that were read are those that the run's key was made of. Raises MachineFault that names the files."""
    changed = [
        f"{item.path}: changed while it was being read"
        for item, entry in zip(collected.files, made_of["read"]["inputs"], strict=True)
        # a store's own digest holds a colon, and cannot be compared
        if item.info is not None and ":" not in entry["sha256"] and entry["sha256"] != item.info.sha256
    ]
    if changed:
        raise MachineFault(changed, hint="let its writer finish, then start again")


def _sync(folder: Path) -> None:
    from stages.files import sync_folder

    sync_folder(os.fspath(folder))


def _prune(spool: Path, used: set[str]) -> None:
    names = {os.path.basename(path) for path in used}
    for entry in sorted(spool.iterdir()) if spool.is_dir() else ():
        if entry.suffix == ".spool" and entry.name not in names:  # the folder may be a link to a place that holds more
            remove_tree(entry)


def _why_empty(ledgers: list[SourceLedger]) -> str:
    summed = total(ledgers)
    parts = [f"{count} rejected by {rule}" for rule, count in summed.rejected.most_common(3)]
    parts += [f"{count} {reason}" for reason, count in summed.dropped.most_common(2)]
    return ", ".join(parts) or "nothing was sampled"


def _warn_disk(plan: Plan, out: Path, log: Log) -> None:
    # spool 4 and shards 8 bytes a token, at about 4 bytes of text a token
    need = (
        plan.input_bytes
        * 3
        * (4 if any(path.endswith((".gz", ".zst", ".xz", ".bz2")) for s in plan.sources for path in s.files) else 1)
    )
    free = shutil.disk_usage(out).free
    if need > free:
        log(f"warning: about {need >> 20} MiB will be written, and {free >> 20} MiB are free on the disk of {out}")


def _collect(
    plan: Plan, spool: Path, rejects: Path, workers: int, log: Log, progress: Callable[..., Any] | None
) -> tuple[Plan, Collected, RejectWriter]:
    """Runs the chunks; with the reference tokenizer when a fast back end turns out to give other ids."""
    encode, fitted = plan.encode, plan.fitted
    assert encode is not None and fitted is not None
    if workers > 1 and plan.input_bytes >= SMALL_INPUT_BYTES:
        path = spool.parent / "tokenizer.json"
        write_whole(path, fitted.json_text.encode("utf-8"))
        plan = replace(plan, encode=replace(encode, json_path=os.fspath(path)))
    before = {entry.name for entry in spool.iterdir()}
    try:
        with RejectWriter(rejects, [source.spec.name for source in plan.sources]) as writer:
            return plan, collect(plan, plan.batch_spec(os.fspath(spool)), workers, writer.add, progress), writer
    except BackEndDiffers as differs:
        log(f"{differs.problems[0]}; the reference tokenizer is used, which is slower")
        for entry in spool.iterdir():
            if entry.name not in before:
                remove_tree(entry)  # made by the back end that differs
        assert plan.encode is not None
        plan = replace(plan, encode=replace(plan.encode, back_end="tokenizers"))
        return _collect(plan, spool, rejects, workers, log, progress)


def _verdict(plan: Plan, collected: Collected) -> dict[str, Any]:
    """The manifest's word on the tokenizer's back end."""
    assert plan.encode is not None
    return {"back_end": plan.encode.back_end, "checked_texts": collected.checked_texts, "differ": 0}


# --- shards -----------------------------------------------------------------------------------------------------------


def _write_splits(
    plan: Plan, table: Table, splits: dict[str, Rows], build: Path, workers: int
) -> dict[str, dict[str, Any]]:
    """Writes every shard of every split; returns the manifest's `splits`."""
    assert plan.encode is not None
    tasks: list[ShardTask] = []
    names: list[tuple[str, str, str]] = []
    for split, rows in splits.items():
        make_folder(build / split)
        borders = _shard_borders(plan, rows)
        ends = np.concatenate([[0], np.cumsum(rows.sizes)]).astype(np.int64)
        count = len(borders) - 1
        for number in range(count):
            first, last = borders[number], borders[number + 1]
            label = f"{number:05d}-of-{count:05d}.arrow"
            names.append((split, f"{split}/data-{label}", f"lineage/{split}-{label}"))
            parts = rows.parts.take(slice(int(ends[first]), int(ends[last])))
            used, spool = np.unique(parts.spool, return_inverse=True)
            tasks.append(
                ShardTask(
                    path=os.fspath(build / names[-1][1]),
                    lineage_path=os.fspath(build / names[-1][2]),
                    spools=tuple(table.spools[at] for at in used.tolist()),
                    parts=parts._replace(spool=spool.astype(np.int32)),
                    row_sizes=rows.sizes[first:last],
                    with_lengths=plan.packed,
                )
            )
    job: Job[ShardTask, ShardResult] = Job(_same, write_shard, _shard_name, plan.encode.cut)
    many = workers > 1 and len(tasks) > 1 and sum(int(task.parts.tokens.sum()) for task in tasks) > SMALL_INPUT_BYTES
    results = dict(processes(job, tasks, min(workers, len(tasks))) if many else inline(job, tasks))
    found: dict[str, dict[str, Any]] = {}
    for number, (split, file, lineage) in enumerate(names):
        result = results[number]
        entry = found.setdefault(split, {"rows": 0, "examples": 0, "tokens": 0, "trained_tokens": 0, "shards": []})
        entry["rows"] += result.rows
        entry["tokens"] += result.tokens
        entry["trained_tokens"] += result.trained_tokens
        entry["shards"].append(
            {
                "file": file,
                "rows": result.rows,
                "tokens": result.tokens,
                "bytes": result.bytes,
                "sha256": result.sha256,
                "lineage": {"file": lineage, "bytes": result.lineage_bytes, "sha256": result.lineage_sha256},
            }
        )
    for split, entry in found.items():
        _huggingface_files(plan, build / split, split, entry)
    return found


def _same(context: Any) -> Any:
    return context


def _shard_name(task: ShardTask) -> str:
    return task.path


def _shard_borders(plan: Plan, rows: Rows) -> list[int]:
    """Row numbers at which shards begin, and the end. A function of the rows alone."""
    count = len(rows.sizes)
    per_token = 8 if plan.kind in ("lm", "pt") else 4
    size = int(rows.tokens.sum()) * per_token
    wanted = plan.config.whole("shard_size") if "shard_size" in plan.config.given else None
    shard = wanted or min(max(size // 16, SHARD_BYTES_LEAST), SHARD_BYTES_MOST)
    shards = max(1, min(-(-size // shard), count or 1))
    if shards == 1:
        return [0, count]
    running = np.cumsum(rows.tokens)
    marks = (np.arange(1, shards) * int(running[-1])) // shards
    inner = np.unique(np.searchsorted(running, marks, side="left") + 1)
    return [0, *[int(mark) for mark in inner if 0 < mark < count], count]


def _huggingface_files(plan: Plan, folder: Path, split: str, entry: dict[str, Any]) -> None:
    """The two files that make a split loadable by `datasets.load_from_disk`."""
    int_list = {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "List"}
    if plan.kind in ("lm", "pt"):
        features: dict[str, Any] = {"input_ids": int_list, "labels": int_list}
        if plan.packed:
            features["seq_lengths"] = int_list
    else:
        from stages.write import PARTS

        features = dict.fromkeys(PARTS[plan.kind], int_list)
        if plan.kind == "unpaired":
            features["label"] = {"dtype": "bool", "_type": "Value"}
    fingerprint = hashlib.sha256("".join(shard["sha256"] for shard in entry["shards"]).encode()).hexdigest()[:16]
    info = {"features": features, "splits": {split: {"name": split, "num_examples": entry["rows"]}}}
    state: dict[str, Any] = {
        "_data_files": [{"filename": os.path.basename(shard["file"])} for shard in entry["shards"]],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": split,
    }
    write_whole(folder / "dataset_info.json", dump(info))
    write_whole(folder / "state.json", dump(state))


# --- documents --------------------------------------------------------------------------------------------------------


def _left_out(table: Table, arranged: Arranged, build: Path, kind: str) -> list[dict[str, Any]]:
    left = left_out(table, arranged)
    if not len(left.place):
        return []
    size, digest = write_left_out(os.fspath(build / LEFT_OUT), table.spools, left, kind)
    return [{"file": LEFT_OUT, "bytes": size, "sha256": digest}]


def _listed_file(build: Path, name: str, data: bytes) -> dict[str, Any]:
    return {"file": name, "bytes": len(data), "sha256": write_whole(build / name, data)}


def _report(plan: Plan, collected: Collected) -> dict[str, Any]:
    from .summary import validation_report

    return validation_report([(plan, collected)]).as_dict()


def _manifest(
    plan: Plan,
    collected: Collected,
    ledgers: list[SourceLedger],
    splits: dict[str, dict[str, Any]],
    key: str,
    verdict: dict[str, Any],
    listed: list[dict[str, Any]],
) -> dict[str, Any]:
    encode, fitted, config = plan.encode, plan.fitted, plan.config
    assert encode is not None and fitted is not None
    cutoff = config.whole("cutoff_len") or 2048
    for entry in splits.values():
        entry["fill_rate"] = round(entry["tokens"] / max(entry["rows"] * cutoff, 1), 6) if plan.packed else None
    names = source_names(plan)
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "key": key,
        "kind": "lm" if plan.kind == "pt" else plan.kind,
        "stage": plan.stage,
        "packed": plan.packed,
        "cutoff_len": cutoff,
        "compat": encode.compat,
        "template": {"name": encode.template, "sha256": encode.template_sha256, "date": encode.options.template_date},
        "tokenizer": {
            "sha256": encode.tokenizer_sha256,
            "vocab_size": fitted.size,
            "bos_id": fitted.ids.bos,
            "eos_id": fitted.ids.eos,
            "eos_token": fitted.ids.eos_text,
            "pad_id": fitted.pad,
            "added": [{"token": grown.token, "id": grown.id, "asked_by": grown.asked_by} for grown in fitted.growth],
            "check": verdict,
        },
        "cut": asdict(encode.cut) | {"overlong": encode.overlong},
        "recipe": {name: config.values.get(name) for name in RECIPE_KEYS if config.values.get(name)},
        "options": {name: config.values.get(name) for name in CONTENT_KEYS},
        "inputs": [
            {
                "path": _shown_path(item.path),
                "source": names[item.source],
                "split": plan.sources[item.source].split,
                "format": plan.sources[item.source].spec.format,
                "sha256": item.info.sha256 if item.info else "",
                "bytes": item.info.bytes if item.info else 0,
                "records": item.read + item.not_taken,
            }
            for item in collected.files
        ],
        "ledger": total(ledgers).as_dict()
        | {"sources": {name: ledger.as_dict() for name, ledger in zip(names, ledgers, strict=True)}},
        "findings": dict(sorted(_counts(collected).items())),
        "splits": splits,
        "files": listed,
    }
    manifest["mixture"] = mixture(plan, ledgers)
    manifest["truncated"] = {
        source.spec.name: _cut_counts(collected, number) for number, source in enumerate(plan.sources)
    }
    return manifest


def _cut_counts(collected: Collected, source: int) -> dict[str, int]:
    """Records of a source that lost something to the length limit; an answer that is cut has lost its stop token."""
    counts: Counter[str] = Counter()
    for item in collected.files:
        if item.source == source:
            counts.update({rule: count for rule, count in item.counts.items() if rule.startswith("length.")})
    return dict(sorted(counts.items()))


def mixture(plan: Plan, ledgers: list[SourceLedger]) -> dict[str, dict[str, Any]]:
    """Each training source's share: asked for, and realised in records and in trained tokens."""
    probs = plan.config.get("interleave_probs")
    train = [number for number, source in enumerate(plan.sources) if source.split == "train"]
    records = sum(ledgers[number].examples for number in train)
    trained = sum(ledgers[number].trained_tokens for number in train)
    return {
        plan.sources[number].spec.name: {
            "asked": float(probs[place]) if isinstance(probs, list) and place < len(probs) else None,
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


def _shown_path(path: str) -> str:
    """A path as the user gave it; nothing of the machine is added."""
    return path


def _counts(collected: Collected) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (rule, _), count in collected.counts.items():
        counts[rule] = counts.get(rule, 0) + count
    return counts


def _run_block(plan: Plan, started: float, workers: int, collected: Collected) -> dict[str, Any]:
    names = ("prep-llm", "numpy", "pyarrow", "orjson", "tokenizers", "fastokens", "gigatoken", "jsonschema-rs")
    return {
        "config": plan.config.path,
        "model_name_or_path": plan.config.text("model_name_or_path"),
        "seconds": round(time.perf_counter() - started, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "workers": workers,
        "chunks": len(collected.chunks),
        "chunks_reused": collected.reused,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in names},
    }


def _version(name: str) -> str:
    try:
        return installed_version(name)
    except Exception:  # a source tree that is not installed has no metadata; the run is no worse for it
        return "unknown"


__all__ = ["Outcome", "Parts", "ensure_prepared", "output_folder", "prepare", "rejected_too_many", "run_key"]
