"""Sections: the values that each part of the page shows; its template of the same name marks them up. All figures come
from the manifest, report.json and pipeline.inspect.statistics; nothing is counted twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.reports.markup import number, share
from pipeline.reports.rebuild_command import rebuild_command
from registry.rules import rules

from .charts import Histogram, curve

MOST_ROWS = 120  # of a table of files, shards or sources
MOST_RULES = 150
SAMPLES_OF_A_RULE = 5
MANIFEST_CHARACTERS = 200_000
COMMAND_CHARACTERS = 4000

Figures = Mapping[str, Any]


def about(manifest: Figures) -> dict[str, Any]:
    """The line under the heading."""
    return {
        "stage": manifest["stage"],
        "packed": manifest["packed"],
        "template": manifest["template"]["name"],
        "cutoff_len": manifest["cutoff_len"],
        "key": manifest["key"],
    }


def overview(manifest: Figures) -> list[tuple[str, str]]:
    """The tiles on top: figure and name."""
    ledger = manifest["ledger"]
    splits = manifest["splits"]
    rows = sum(split["rows"] for split in splits.values())
    fills = [split["fill_rate"] for split in splits.values() if split["fill_rate"] is not None]
    found = sum(manifest.get("findings", {}).values())
    return [
        (number(ledger["read"]), "records read"),
        (number(sum(ledger["rejected"].values())), "rejected"),
        (number(found), "findings"),
        (number(rows), f"rows in {len(splits)} split{'s' if len(splits) > 1 else ''}"),
        (number(ledger["examples"]), "examples in them"),
        (number(ledger["tokens"]), "tokens"),
        (share(ledger["trained_tokens"], ledger["tokens"]), f"trained: {number(ledger['trained_tokens'])}"),
        (share(min(fills), 1) if fills else "–", "rows filled" if fills else "rows filled: one example a row"),
    ]


@dataclass(frozen=True)
class Step:
    """One line of a funnel. kind: the bar's class; "lost" is subtracted."""

    name: str
    amount: int
    kind: str


@dataclass(frozen=True)
class Funnel:
    """From what came in to what is in the rows. left, right: the two sides of its sum, equal when it adds up."""

    title: str
    name: str
    steps: Sequence[Step]
    left: int
    right: int

    @property
    def whole(self) -> int:
        """What the longest bar stands for."""
        return max(step.amount for step in self.steps if step.kind != "lost")


def ledger(manifest: Figures) -> dict[str, Any]:
    """Where every record and token went, and whether it adds up."""
    whole = manifest["ledger"]
    accounts = [(name, _account(one)) for name, one in list(whole["sources"].items())[:MOST_ROWS]]
    return {
        "funnels": [
            _records(whole),
            _tokens(whole, "tokens", "tokens"),
            _tokens(whole, "trained_tokens", "trained tokens"),
        ],
        "accounts": [*accounts, ("all", _account(whole))],
    }


def _records(whole: Figures) -> Funnel:
    steps = [Step("records read", whole["read"], "bar")]
    steps += [Step(f"rejected: {rule}", count, "lost") for rule, count in _most(whole["rejected"])]
    if whole["not_sampled"]:
        steps.append(Step("not sampled", whole["not_sampled"], "lost"))
    if whole["repeated"]:
        steps.append(Step("repeated", whole["repeated"], "bar"))
    steps += [Step(f"dropped: {reason}", count, "lost") for reason, count in _most(whole["dropped"])]
    steps.append(Step("examples in the rows", whole["examples"], "kept"))
    left = whole["read"] - sum(whole["rejected"].values()) - whole["not_sampled"] + whole["repeated"]
    return Funnel("records", "records", steps, left, whole["examples"] + sum(whole["dropped"].values()))


def _tokens(whole: Figures, key: str, title: str) -> Funnel:
    lost = whole[f"{key}_lost"]
    steps = [Step(f"{title} before the length limit", whole[f"{key}_in"], "bar")]
    steps += [Step(f"lost: {reason}", count, "lost") for reason, count in _most(lost)]
    steps.append(Step(f"{title} in the rows", whole[key], "kept"))
    return Funnel(title, title, steps, whole[f"{key}_in"] - sum(lost.values()), whole[key])


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_RULES]


def _account(one: Figures) -> list[int]:
    return [
        one["read"], sum(one["rejected"].values()), one["not_sampled"], one["repeated"], sum(one["dropped"].values()),
        one["examples"], one["tokens"], one["trained_tokens"], sum(one["trained_tokens_lost"].values()),
    ]  # fmt: skip


def findings(manifest: Figures, report: Figures) -> dict[str, Any]:
    """Each rule with its count, what it means, and some of the places."""
    counts: Mapping[str, int] = report["counts"]
    samples: dict[str, list[Figures]] = {}
    for found in report["findings"]:
        samples.setdefault(found["rule"], []).append(found)
    rejected = manifest["ledger"]["rejected"]
    order = sorted(counts.items(), key=lambda item: (item[0] not in rejected, -item[1], item[0]))
    return {
        "total": sum(counts.values()),
        "kinds": len(counts),
        "rules": [
            _rule(rule, count, samples.get(rule, []), rejected.get(rule, 0)) for rule, count in order[:MOST_RULES]
        ],
    }


def _rule(rule: str, count: int, listed: Sequence[Figures], rejected: int) -> dict[str, Any]:
    known = rules().get(rule)
    return {
        "id": rule,
        "found": count,
        "error": rejected > 0 or any(found["severity"] == "error" for found in listed),
        "rejected": rejected,
        "meaning": known.meaning if known else "",
        "why": known.why if known else "",
        "hint": known.hint if known else "",
        "places": listed[:SAMPLES_OF_A_RULE],
        "unlisted": count - SAMPLES_OF_A_RULE,
    }


def lengths(stats: Figures) -> dict[str, Any]:
    """Histograms, and percentiles by source and segment."""
    return {
        "columns": [f"#{name}" for name in stats["all"]["tokens_of_an_example"]],
        "histograms": [
            Histogram("tokens of an example, before the cut", "tokens", stats["histograms"]["tokens"]),
            Histogram("turns of an example", "turns", stats["histograms"]["turns"]),
        ],
        "spreads": [
            _spreads(stats, "tokens_of_an_example", "tokens of an example, before the cut"),
            _spreads(stats, "trained_of_an_example", "trained tokens of an example, before the cut"),
        ],
        "halves": stats["halves"],
    }


def _spreads(stats: Figures, key: str, caption: str) -> dict[str, Any]:
    rows = [(name, figures[key]) for name, figures in list(stats["sources"].items())[:MOST_ROWS]]
    if len(stats["sources"]) > 1:
        rows.append(("all", stats["all"][key]))
    return {"caption": caption, "rows": rows}


def cutoffs(stats: Figures) -> dict[str, Any]:
    """What other limits would cost."""
    rows, own = stats["cutoffs"], stats["cutoff_len"]
    points = [(row["cutoff_len"], row["trained_share"]) for row in rows]
    return {
        "rows": rows,
        "own": own,
        "curve": curve(points, own, "Share of the trained tokens that each cutoff keeps"),
        "suggestion": stats["suggestion"],
    }


def mixture(manifest: Figures) -> list[dict[str, Any]]:
    """What was requested, and what is there. shown: without a request, the source's part of the records read."""
    mixed = manifest.get("mixture") or {}
    ledgers = manifest["ledger"]["sources"]
    read = sum(ledgers[name]["read"] for name in mixed if name in ledgers)
    rows = []
    for name, one in list(mixed.items())[:MOST_ROWS]:
        natural = ledgers[name]["read"] / read if name in ledgers and read else 0.0
        requested = one["asked"] is not None
        rows.append({**one, "name": name, "requested": requested, "shown": one["asked"] if requested else natural})
    return rows


def packing(manifest: Figures, fills: list[list[int]]) -> dict[str, Any]:
    """How full the rows are."""
    return {"splits": manifest["splits"], "fills": fills, "cutoff_len": manifest["cutoff_len"]}


VERDICTS = {
    "equal": ("good", "our rendering gives the token ids of the tokenizer's own chat template"),
    "differs": ("warn", "our rendering differs from the tokenizer's own chat template in some cases"),
    "own": ("good", "rendered by the tokenizer's own chat template"),
    "nothing-to-compare": ("dim", "the tokenizer has no chat template to compare with"),
}


def proof(manifest: Figures) -> dict[str, Any]:
    """Our rendering against the tokenizer's own template. verdict: "" when no proof was made."""
    found = manifest.get("template_proof") or {}
    kind, text = VERDICTS.get(found["verdict"], ("dim", found["verdict"])) if found else ("dim", "")
    cases = found.get("cases") or {}
    return {
        "template": manifest["template"],
        "kind": kind,
        "verdict": text,
        "reason": found.get("reason") or "",
        "cases": [
            {
                "name": name,
                "verdict": str(case.get("verdict", "")),
                "at_token": case.get("at_token"),
                "ours": str(case.get("ours", "")),
                "theirs": str(case.get("theirs", "")),
            }
            for name, case in cases.items()
        ],
    }


def lineage(manifest: Figures) -> dict[str, Any]:
    """Inputs and shards, by digest."""
    inputs = manifest["inputs"]
    shards = [shard for split in manifest["splits"].values() for shard in split["shards"]]
    return {
        "inputs": inputs[:MOST_ROWS],
        "inputs_left": len(inputs) - MOST_ROWS,
        "shards": shards[:MOST_ROWS],
        "shards_left": len(shards) - MOST_ROWS,
    }


def manifest_text(manifest: Figures) -> dict[str, Any]:
    """The manifest as it stands, as far as it fits, and how the output is made again."""
    text = json.dumps(manifest, ensure_ascii=True, indent=1, sort_keys=True)
    if len(text) > MANIFEST_CHARACTERS:
        slim = {key: value for key, value in manifest.items() if key not in ("inputs", "splits", "files")}
        text = json.dumps(slim, ensure_ascii=True, indent=1, sort_keys=True)[:MANIFEST_CHARACTERS]
        text += "\n(inputs, splits and files left out here: see manifest.json)"
    run = manifest.get("run", {})
    return {
        "finished": run.get("finished", ""),
        "version": run.get("versions", {}).get("prep-llm", ""),
        "command": rebuild_command(manifest)[:COMMAND_CHARACTERS],
        "text": text,
    }
