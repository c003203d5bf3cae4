"""Sections: each part of the page as a function from figures to markup. All figures come from the manifest, report.json
and `pipeline.lengths.statistics`; nothing is counted twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.rules import rules

from .charts import bar, curve, histogram, stacked
from .markup import note, number, safe, section, share, table

MOST_ROWS = 120  # of a table of files, shards or sources
MOST_RULES = 150
SAMPLES_OF_A_RULE = 5

Figures = Mapping[str, Any]


def overview(manifest: Figures) -> str:
    """The tiles on top."""
    ledger = manifest["ledger"]
    rows = sum(split["rows"] for split in manifest["splits"].values())
    fills = [split["fill_rate"] for split in manifest["splits"].values() if split["fill_rate"] is not None]
    found = sum(manifest.get("findings", {}).values())
    tiles = [
        (number(ledger["read"]), "records read"),
        (number(sum(ledger["rejected"].values())), "rejected"),
        (number(found), "findings"),
        (number(rows), f"rows in {len(manifest['splits'])} split{'s' if len(manifest['splits']) > 1 else ''}"),
        (number(ledger["examples"]), "examples in them"),
        (number(ledger["tokens"]), "tokens"),
        (share(ledger["trained_tokens"], ledger["tokens"]), f"trained: {number(ledger['trained_tokens'])}"),
        (share(min(fills), 1) if fills else "–", "rows filled" if fills else "rows filled: one example a row"),
    ]
    items = "".join(f"<li><b>{value}</b><span>{name}</span></li>" for value, name in tiles)
    return f'<ul class="tiles">{items}</ul>'


def ledger(manifest: Figures) -> str:
    """Where every record and token went, and that it adds up."""
    whole = manifest["ledger"]
    steps: list[tuple[str, int, str]] = [("records read", whole["read"], "bar")]
    steps += [(f"rejected: {safe(rule)}", -count, "lost") for rule, count in _most(whole["rejected"])]
    if whole["not_sampled"]:
        steps.append(("not sampled", -whole["not_sampled"], "lost"))
    if whole["repeated"]:
        steps.append(("repeated", whole["repeated"], "bar"))
    steps += [(f"dropped: {safe(reason)}", -count, "lost") for reason, count in _most(whole["dropped"])]
    steps.append(("examples in the rows", whole["examples"], "kept"))
    left = whole["read"] - sum(whole["rejected"].values()) - whole["not_sampled"] + whole["repeated"]
    right = whole["examples"] + sum(whole["dropped"].values())
    body = [_funnel("records", steps), _closes("records", left, right)]
    for name, title in (("tokens", "tokens"), ("trained_tokens", "trained tokens")):
        lost = whole[f"{name}_lost"]
        steps = [(f"{title} before the length limit", whole[f"{name}_in"], "bar")]
        steps += [(f"lost: {safe(reason)}", -count, "lost") for reason, count in _most(lost)]
        steps.append((f"{title} in the rows", whole[name], "kept"))
        body += [_funnel(title, steps), _closes(title, whole[f"{name}_in"] - sum(lost.values()), whole[name])]
    head = [
        "source",
        "read",
        "rejected",
        "not sampled",
        "repeated",
        "dropped",
        "examples",
        "tokens",
        "trained",
        "trained, lost",
    ]
    rows = [_account(safe(name), one) for name, one in list(whole["sources"].items())[:MOST_ROWS]]
    body.append(table(head, [*rows, _account("all", whole)], figures=range(1, 10), caption="by source"))
    return section("ledger", "Ledger", "".join(body))


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_RULES]


def _funnel(title: str, steps: list[tuple[str, int, str]]) -> str:
    whole = max(value for _, value, _ in steps)
    rows = [
        [name, bar(abs(value), whole, kind), number(value) if kind != "lost" else f"−{number(-value)}"]
        for name, value, kind in steps
    ]
    return table([title, "", "count"], rows, figures=(2,), kind="bars")


def _closes(name: str, left: int, right: int) -> str:
    if left == right:
        return f'<p class="good">✓ the {name} add up: {number(right)} = {number(left)}</p>'
    return f'<p class="bad">✗ the {name} do not add up: {number(left)} against {number(right)}</p>'


def _account(name: str, one: Figures) -> list[str]:
    figures = [
        one["read"], sum(one["rejected"].values()), one["not_sampled"], one["repeated"], sum(one["dropped"].values()),
        one["examples"], one["tokens"], one["trained_tokens"], sum(one["trained_tokens_lost"].values()),
    ]  # fmt: skip
    return [name, *(number(figure) for figure in figures)]


def findings(manifest: Figures, report: Figures) -> str:
    """Each rule with its count, what it means, and some of the places."""
    counts: Mapping[str, int] = report["counts"]
    if not counts:
        return section("findings", "Findings", '<p class="good">Nothing was found.</p>')
    known = rules()
    samples: dict[str, list[Figures]] = {}
    for found in report["findings"]:
        samples.setdefault(found["rule"], []).append(found)
    rejected = manifest["ledger"]["rejected"]
    order = sorted(counts.items(), key=lambda item: (item[0] not in rejected, -item[1], item[0]))
    parts = []
    for rule, count in order[:MOST_RULES]:
        listed = samples.get(rule, [])
        error = any(found["severity"] == "error" for found in listed) or rule in rejected
        kind = '<span class="bad">error</span>' if error else '<span class="warn">warning</span>'
        gone = f", {number(rejected[rule])} records rejected" if rule in rejected else ""
        meaning = f"{safe(known[rule].meaning)}." if rule in known else ""
        mend = f"<p>What to do: {safe(known[rule].mend)}.</p>" if rule in known else ""
        why = f"<p>{safe(known[rule].why)}</p>" if rule in known else ""
        places = "".join(f"<li>{_place(found)}</li>" for found in listed[:SAMPLES_OF_A_RULE])
        more = (
            note(f"{number(count - SAMPLES_OF_A_RULE)} more; report.json lists up to 100 of a rule")
            if count > SAMPLES_OF_A_RULE
            else ""
        )
        parts.append(
            f'<details><summary><span class="n">{number(count)}</span>{kind} <code>{safe(rule)}</code> '
            f"{meaning}{gone}</summary>"
            f'{why}{mend}<ul class="samples">{places}</ul>{more}</details>'
        )
    total = (
        f"<p>{number(sum(counts.values()))} findings of {len(counts)} rules. Open one to see places and what to do.</p>"
    )
    return section("findings", "Findings", total + "".join(parts))


def _place(found: Figures) -> str:
    line = f":{found['line']}" if found["line"] > 0 else ""
    pointer = f" <code>{safe(found['pointer'])}</code>" if found["pointer"] else ""
    value = f' <code class="dim">{safe(found["value"], 120)}</code>' if found["value"] else ""
    return f"<code>{safe(str(found['path'])[-120:])}{line}</code>{pointer} {safe(found['message'])}{value}"


def lengths(stats: Figures) -> str:
    """Histograms, and percentiles by source and half."""
    names = list(stats["all"]["tokens_of_an_example"])
    sources = list(stats["sources"].items())[:MOST_ROWS]

    def spreads(title: str, key: str) -> str:
        rows = [[safe(name), *_spread(figures[key])] for name, figures in sources]
        if len(stats["sources"]) > 1:
            rows.append(["all", *_spread(stats["all"][key])])
        return table(["source", *names], rows, figures=range(1, 9), caption=title)

    halves = [
        [safe(name), number(one["count"]), number(one["masked"]), *_spread(one["lengths"])]
        for name, one in stats["halves"].items()
    ]
    body = [
        histogram("tokens of an example, before the cut", "tokens", stats["histograms"]["tokens"]),
        histogram("turns of an example", "turns", stats["histograms"]["turns"]),
        spreads("tokens of an example, before the cut", "tokens_of_an_example"),
        spreads("trained tokens of an example, before the cut", "trained_of_an_example"),
        table(
            ["half", "count", "without loss", *names],
            halves,
            figures=range(1, 10),
            caption="tokens of a half, before the cut",
        ),
    ]
    return section("lengths", "Lengths", "".join(body))


def _spread(figures: Mapping[str, float]) -> list[str]:
    return [number(value, 1 if name == "mean" else 0) for name, value in figures.items()]


def cutoffs(stats: Figures) -> str:
    """What other limits would cost."""
    if not stats["cutoffs"]:
        return section(
            "cutoffs",
            "Cutoff",
            note("No table for <code>overlong: split</code>: where a record is split depends on its text."),
        )
    own = stats["cutoff_len"]
    head = ["cutoff_len", "records cut", "dropped", "rejected", "trained tokens lost", "kept", "rows", "fill"]
    rows = [
        [
            number(row["cutoff_len"]) + (" (in use)" if row["cutoff_len"] == own else ""),
            *(number(row[key]) for key in ("records_cut", "dropped", "rejected", "trained_tokens_lost")),
            share(row["trained_share"], 1),
            number(row["rows"]),
            share(row["fill_rate"], 1),
        ]
        for row in stats["cutoffs"]
    ]
    drawing = curve(
        [(row["cutoff_len"], row["trained_share"]) for row in stats["cutoffs"]],
        own,
        "Share of the trained tokens that each cutoff keeps",
    )
    told = stats["suggestion"]
    advice = f"<p>Suggested: <code>cutoff_len={told['cutoff_len']}</code>. {safe(told['reason'])}.</p>" if told else ""
    remark = note(
        "Share of all trained tokens that is trained, over <code>cutoff_len</code>. Computed from the stored lengths "
        "with the functions that pack; a record that the limit leaves nothing to train on is rejected and counts as "
        "lost."
    )
    return section("cutoffs", "Cutoff", drawing + remark + advice + table(head, rows, figures=range(8)))


def mixture(manifest: Figures) -> str:
    """What was asked for, and what is there."""
    mixed = manifest.get("mixture") or {}
    ledgers = manifest["ledger"]["sources"]
    read = sum(ledgers[name]["read"] for name in mixed if name in ledgers)
    rows = []
    for name, one in list(mixed.items())[:MOST_ROWS]:
        asked = one["asked"]
        natural = ledgers[name]["read"] / read if name in ledgers and read else 0.0
        shown = asked if asked is not None else natural
        rows.append(
            [
                safe(name),
                bar(shown, 1, "asked"),
                share(shown, 1) + ("" if asked is not None else " of the records"),
                bar(one["trained_tokens_share"], 1, "kept"),
                share(one["trained_tokens_share"], 1),
                share(one["examples_share"], 1),
                number(one["trained_tokens"]),
            ]
        )
    head = ["source", "asked for", "", "realised, in trained tokens", "", "in examples", "trained tokens"]
    remark = note(
        "Without interleaving nothing is asked for: a source's part of the records read stands in that place."
    )
    return section("mixture", "Mixture", table(head, rows, figures=(2, 4, 5, 6)) + remark)


def packing(manifest: Figures, fills: list[list[int]]) -> str:
    """How full the rows are."""
    head = ["split", "rows", "examples", "tokens", "trained", "", "fill"]
    rows = [
        [
            safe(name),
            *(number(split[key]) for key in ("rows", "examples", "tokens", "trained_tokens")),
            stacked(
                [(split["trained_tokens"], "trained"), (split["tokens"] - split["trained_tokens"], "masked")],
                split["tokens"],
            ),
            share(split["fill_rate"], 1) if split["fill_rate"] is not None else "–",
        ]
        for name, split in manifest["splits"].items()
    ]
    legend = note('<span class="key on">trained</span> and <span class="key off">masked</span> tokens of each split')
    body = table(head, rows, figures=(1, 2, 3, 4, 6)) + legend
    if fills:
        most = max(count for _, _, count in fills)
        bars = [[f"{first} to {end} %", bar(count, most), number(count)] for first, end, count in fills]
        body += table(
            ["filled", "", "rows"],
            bars,
            figures=(0, 2),
            kind="bars",
            caption=f"rows by how much of cutoff_len ({number(manifest['cutoff_len'])}) they fill",
        )
    else:
        body += note("One example a row; nothing is packed.")
    return section("packing", "Packing", body)


VERDICTS = {
    "equal": ("good", "our rendering gives the token ids of the tokenizer's own chat template"),
    "differs": ("warn", "our rendering differs from the tokenizer's own chat template in some cases"),
    "own": ("good", "rendered by the tokenizer's own chat template"),
    "nothing-to-compare": ("dim", "the tokenizer has no chat template to compare with"),
}


def proof(manifest: Figures) -> str:
    """Our rendering against the tokenizer's own template."""
    template, about = manifest["template"], manifest.get("template_proof")
    body = (
        f"<p>Template <code>{safe(template['name'])}</code>, sha256 <code>{safe(template['sha256'][:16])}</code>.</p>"
    )
    if not about:
        return section("template", "Template proof", body + note("No proof was made."))
    kind, text = VERDICTS.get(about["verdict"], ("dim", safe(about["verdict"])))
    reason = f" {safe(about['reason'])}" if about.get("reason") else ""
    body += f'<p class="{kind}">{text}.{reason}</p>'
    cases = about.get("cases") or {}
    if cases:
        rows = [
            [safe(name), _case(str(case.get("verdict", ""))), number(case["at_token"]) if "at_token" in case else "",
             f"<code>{safe(case.get('ours', ''), 120)}</code>", f"<code>{safe(case.get('theirs', ''), 120)}</code>"]
            for name, case in cases.items()
        ]  # fmt: skip
        body += table(
            ["case", "verdict", "first at token", "ours from there", "the tokenizer's own"], rows, figures=(2,)
        )
    return section("template", "Template proof", body)


def _case(verdict: str) -> str:
    return f'<span class="{"good" if verdict == "equal" else "warn"}">{safe(verdict)}</span>'


def lineage(manifest: Figures) -> str:
    """Inputs and shards, by digest."""
    inputs = manifest["inputs"]
    rows = [
        [f"<code>{safe(str(one['path'])[-160:])}</code>", safe(one["source"]), safe(one["format"]), safe(one["split"]),
         number(one["records"]), number(one["bytes"]), f"<code>{safe(one['sha256'][:16])}</code>"]
        for one in inputs[:MOST_ROWS]
    ]  # fmt: skip
    shards = [(name, shard) for name, split in manifest["splits"].items() for shard in split["shards"]]
    written = [
        [f"<code>{safe(shard['file'])}</code>", number(shard["rows"]), number(shard["tokens"]), number(shard["bytes"]),
         number(shard["lineage"]["bytes"]), f"<code>{safe(shard['sha256'][:16])}</code>"]
        for _, shard in shards[:MOST_ROWS]
    ]  # fmt: skip
    body = "<p>Every example's file, line and lengths stand in <code>lineage/</code>. "
    body += "<code>prep trace OUT --row N --token T</code> leads from a token to its line, "
    body += "<code>--source FILE:LINE</code> back.</p>"
    body += table(
        ["input", "source", "format", "split", "records", "bytes", "sha256"], rows, figures=(4, 5), caption="read"
    )
    body += _more(len(inputs))
    body += table(
        ["shard", "rows", "tokens", "bytes", "lineage bytes", "sha256"],
        written,
        figures=(1, 2, 3, 4),
        caption="written",
    )
    body += _more(len(shards))
    return section("lineage", "Lineage", body)


def _more(count: int) -> str:
    return note(f"and {number(count - MOST_ROWS)} more, in manifest.json") if count > MOST_ROWS else ""
