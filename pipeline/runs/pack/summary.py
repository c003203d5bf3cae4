"""Summaries: the validation report of what was collected, and the closing lines of `prep pack` for a person."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from registry.kinds import STAGES
from stages.core.display import clean

if TYPE_CHECKING:
    from pipeline.config import Config

    from .build import Outcome


Rows = list[tuple[str, str]]  # a line's name, "" where it goes on, and its text


def pack_summary(outcome: Outcome) -> str:
    """What a person wants to know after `prep pack`, at most 80 columns wide."""
    manifest = outcome.manifest
    out = outcome.shown
    if outcome.state == "up to date":
        return f"{out}: up to date ({_figures(manifest)})\n  what it was made of: prep why {out}"
    ledger = manifest["ledger"]
    found = outcome.collected.found.counts if outcome.collected else Counter[tuple[str, str]]()
    errors, warnings = _by_severity(found, "error"), _by_severity(found, "warning")
    rows = _record_rows(manifest)
    # what only repeats the lines of the rejected records above is not listed again
    rows += _finding_rows("errors", errors, {rule for rule in errors if errors[rule] == ledger["rejected"].get(rule)})
    rows += _finding_rows("warnings", warnings, set())
    rows += [*_token_rows(ledger), *_split_rows(manifest), *_mixture_rows(manifest), *_work_rows(outcome)]
    rows.append(("written", out))
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {text}" for name, text in rows]
    worst = next(iter([*ledger["rejected"], *errors, *warnings]), "")
    return "\n".join([*lines, "", *_next(outcome, out, sum(ledger["rejected"].values()), worst)])


def _record_rows(manifest: dict[str, Any]) -> Rows:
    ledger = manifest["ledger"]
    rejected = sum(ledger["rejected"].values())
    rows = [("records", f"{ledger['read']:,} read, {ledger['read'] - rejected:,} kept, {rejected:,} rejected")]
    for rule, count in sorted(ledger["rejected"].items(), key=lambda item: (-item[1], item[0]))[:6]:
        rows.append(("", f"{count:>9,} rejected by {rule}"))
    for reason, count in sorted(ledger["dropped"].items()):
        rows.append(("", f"{count:>9,} dropped: {reason}"))
    if ledger["not_sampled"]:
        rows.append(("", f"{ledger['not_sampled']:>9,} not sampled"))
    if ledger["repeated"]:
        split = manifest["options"].get("overlong") == "split"
        what = "more examples from records that were split" if split else "repeated"
        rows.append(("", f"{ledger['repeated']:>9,} {what}"))
    return rows


def _token_rows(ledger: dict[str, Any]) -> Rows:
    rows = [("tokens", f"{ledger['tokens']:,}, of which {ledger['trained_tokens']:,} trained")]
    lost = sum(ledger["tokens_lost"].values())
    if lost:
        trained_lost = sum(ledger["trained_tokens_lost"].values())
        rows.append(("", f"{lost:>9,} lost to the length limit, {trained_lost:,} of them trained"))
    return rows


def _split_rows(manifest: dict[str, Any]) -> Rows:
    rows = []
    for name, split in manifest["splits"].items():
        shards = len(split["shards"])
        counts = ((split["rows"], "row"), (split["examples"], "example"), (shards, "shard"))
        line = ", ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
        if split.get("fill_rate"):
            line += f", fill rate {100 * split['fill_rate']:.2f} %"
        rows.append((name, line))
    return rows


def _mixture_rows(manifest: dict[str, Any]) -> Rows:
    """What was requested and what came of it; nothing where nothing was requested."""
    shares = manifest["mixture"]
    if all(share["asked"] is None for share in shares.values()):
        return []
    rows = []
    for number, (name, share) in enumerate(shares.items()):
        records, tokens = 100 * share["examples_share"], 100 * share["trained_tokens_share"]
        got = f"{records:.1f} % of examples, {tokens:.1f} % of trained tokens"
        requested = f" (asked {100 * share['asked']:.1f} %)" if share["asked"] is not None else ""
        rows.append(("mixture" if number == 0 else "", f"{name}: {got}{requested}"))
    return rows


def _work_rows(outcome: Outcome) -> Rows:
    """Who made the ids, and how long it took."""
    check, collected = outcome.manifest["tokenizer"]["check"], outcome.collected
    checked = f", ids checked on {check['checked_texts']:,} texts" if check["checked_texts"] else ""
    seconds = outcome.elapsed_s["total"]
    text_bytes = collected.text_bytes if collected else 0
    rate = f", {text_bytes / 1e6 / seconds:.1f} MB/s" if seconds > 1 else ""
    if collected and collected.reused:
        rate += f"; {collected.reused} of {len(collected.chunks)} chunks reused"
    return [("encoder", f"{check['back_end']}{checked}"), ("time", f"{seconds:.1f} s{rate}")]


def _by_severity(counts: Counter[tuple[str, str]], severity: str) -> dict[str, int]:
    """Findings by rule, the most frequent first."""
    found = [(rule, count) for (rule, level), count in counts.items() if level == severity]
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))


def _finding_rows(name: str, counts: dict[str, int], elsewhere: set[str]) -> Rows:
    """How many findings of one severity there are, and of which rules. elsewhere: rules that other lines have."""
    if not counts:
        return []
    rows = [(name, f"{sum(counts.values()):,} in {len(counts)} rule{'s' if len(counts) > 1 else ''}")]
    listed = [(rule, count) for rule, count in counts.items() if rule not in elsewhere]
    rows += [("", f"{count:>9,} {rule}") for rule, count in listed[:5]]
    if len(listed) > 5:
        rows.append(("", f"          and {len(listed) - 5} more rules, in report.json"))
    return rows


def _next(outcome: Outcome, out: str, rejected: int, rule: str) -> list[str]:
    """What a person does next, one line each."""
    place = shlex.quote(out)
    steps = [f"prep inspect {place}   see the tokens and masks"]
    if rule:
        steps.append(f"prep explain {rule}   what it means, and what to do")
    if rejected:
        steps.append(f"{out}/rejects   the rejected records, and why")
    if outcome.plan:
        steps += _model_step(outcome.plan.config, outcome.manifest, out)
    return [f"{'' if at else 'next:':<5} {step}" for at, step in enumerate(steps)]


def _model_step(config: Config, manifest: dict[str, Any], out: str) -> list[str]:
    """The command that uses the shards, or why it would be refused."""

    command: Literal["train", "predict"] = "train" if manifest["kind"] != "prompt" else "predict"
    if STAGES[manifest["stage"]].not_trained or rejected_too_many(config, manifest):
        return []
    # with the same settings: others would have it prepared anew
    kept = config.words()
    if config.data.strict and not any(word.startswith("strict=") for word in kept):  # an option of `prep pack`
        kept.append("strict=true")
    refusal = _refusal(config.path, [*kept[1 if config.path else 0 :], f"tokenized_path={out}"], command)
    if refusal:
        return [f"{'training' if command == 'train' else 'prediction'} is not possible yet: {clean(refusal)}"]
    return [f"prep {command} {shlex.join(kept)} tokenized_path={shlex.quote(out)}"]


def _refusal(path: str | None, words: list[str], command: Literal["train", "predict"]) -> str:
    """Why a command would be refused before it reads the shards, an empty string when it would not."""
    from pathlib import Path

    from pipeline.config import load_config
    from pipeline.runs.train.job_from_config import job_from_config, predict_job_from_config
    from registry.errors import Fault
    from stages.train.model.load import check_start

    try:
        config = load_config(path, words, for_command=command)
        check_start((job_from_config if command == "train" else predict_job_from_config)(config, Path()))
    except Fault as fault:
        return fault.problems[0]
    return ""


def _figures(manifest: dict[str, Any]) -> str:
    ledger = manifest["ledger"]
    rows = sum(split["rows"] for split in manifest["splits"].values())
    return f"{ledger['read']:,} records, {rows:,} rows, {ledger['tokens']:,} tokens"


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
