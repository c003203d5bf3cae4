"""The data card: README.md of an output, with the front matter that the Hugging Face hub reads.

A function of the manifest's content, the report and lengths alone (not of the `run` block), so that the same data give
the same card wherever and whenever it is made. Names, paths and values are untrusted: they are shown cleaned, inside
code spans that they cannot end, and the front matter is JSON strings, which YAML reads as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from registry.kinds import ROW_KINDS
from registry.rules import rules
from stages.core.display import clean

from .rebuild_command import rebuild_command

NAME = "README.md"
SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
)  # fmt: skip
MOST_ROWS = 100  # of a table
MEANING = {
    "input_ids": "token ids of a row",
    "labels": "the same ids where a loss is taken, -100 elsewhere",
    "seq_lengths": "tokens of each example in the row",
    "prompt_ids": "token ids of the prompt",
    "chosen_ids": "token ids of the preferred answer",
    "rejected_ids": "token ids of the other answer",
    "completion_ids": "token ids of the answer",
    "label": "whether the answer is wanted",
    "label_ids": "token ids of the reference answer",
}


def data_card(
    manifest: Mapping[str, Any], report: Mapping[str, Any], lengths: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """The card as text.

    Args:
        manifest: Of the output.
        report: Its report.json.
        lengths: For each source `pipeline.output.ledger.spread` of its examples' tokens before the cut
            (`example_lengths`); None for a card without that section.
    """
    parts = [
        _front_matter(manifest),
        f"# {_title(manifest)}",
        _what(manifest),
        "## Sources\n\n" + _sources(manifest),
        "## Counts\n\n" + _counts(manifest),
        *(["## Lengths\n\n" + _lengths(lengths)] if lengths else []),
        "## Masks\n\n" + _masks(manifest),
        "## Records left out\n\n" + _excluded(manifest),
        "## Findings\n\n" + _findings(report),
        "## How it was made\n\n" + _made(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _title(manifest: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(str(entry["source"]) for entry in manifest["inputs"]))
    return (
        _plain(", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else ""))
        + f" ({manifest['stage']})"
    )


def _front_matter(manifest: Mapping[str, Any]) -> str:
    examples = int(manifest["ledger"]["examples"])
    licenses = sorted({str(entry["license"]) for entry in manifest["inputs"] if entry.get("license")})
    lines = [f"pretty_name: {_quoted(_title(manifest))}"]
    if licenses:
        lines += ["license:", *(f"- {_quoted(name)}" for name in licenses)]
    size = next((name for most, name in SIZES if examples < most), "n>1T" if examples >= 10**12 else "1B<n<10B")
    tags = ["prep", str(manifest["stage"]), "tokenized", *(["packed"] if manifest["packed"] else [])]
    lines += [
        "task_categories:",
        "- text-generation",
        "size_categories:",
        f"- {size}",
        "tags:",
        *(f"- {_quoted(tag)}" for tag in tags),
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for split in sorted(manifest["splits"], key=lambda name: (name != "train", name)):
        lines += [f"  - split: {_quoted(split)}", f"    path: {_quoted(f'{split}/*.arrow')}"]
    return "\n".join(["---", *lines, "---"])


def _quoted(text: str) -> str:
    return json.dumps(clean(text))


def _what(manifest: Mapping[str, Any]) -> str:
    kind = "packed: several examples a row" if manifest["packed"] else "one example a row"
    columns = [*ROW_KINDS[manifest["kind"]].columns, *(["seq_lengths"] if manifest["packed"] else [])]
    rows = [[f"`{name}`", MEANING[name]] for name in columns]
    return (
        f"Token ids for training, rendered with the chat template {_code(manifest['template']['name'])}, cut at "
        f"`cutoff_len` {manifest['cutoff_len']:,}; {kind}. Read it with `datasets.load_from_disk`.\n\n"
        + _table(["column", "holds"], rows)
    )


def _sources(manifest: Mapping[str, Any]) -> str:
    inputs = manifest["inputs"]
    rows = [
        [_code(entry["source"]), _code(entry["path"]), _code(entry["format"]), f"{entry['records']:,}",
         _code(entry["license"]) if entry.get("license") else "not given", f"`{entry['sha256'][:16]}`"]
        for entry in inputs[:MOST_ROWS]
    ]  # fmt: skip
    text = _table(["source", "file", "format", "records", "licence", "sha256"], rows, figures=(3,))
    return text + (f"\n\nand {len(inputs) - MOST_ROWS:,} more, in manifest.json" if len(inputs) > MOST_ROWS else "")


def _counts(manifest: Mapping[str, Any]) -> str:
    ledger = manifest["ledger"]
    rows = [
        [_code(name), f"{one['read']:,}", f"{sum(one['rejected'].values()):,}", f"{one['examples']:,}",
         f"{one['tokens']:,}", f"{one['trained_tokens']:,}"]
        for name, one in sorted(ledger["sources"].items())[:MOST_ROWS]
    ]  # fmt: skip
    rows.append(
        ["all", f"{ledger['read']:,}", f"{sum(ledger['rejected'].values()):,}", f"{ledger['examples']:,}",
         f"{ledger['tokens']:,}", f"{ledger['trained_tokens']:,}"]
    )  # fmt: skip
    figures = (1, 2, 3, 4, 5)
    by_source = _table(
        ["source", "records read", "rejected", "examples", "tokens", "trained tokens"], rows, figures=figures
    )
    splits = [
        [_code(name), f"{split['rows']:,}", f"{split['examples']:,}", f"{split['tokens']:,}",
         f"{100 * split['fill_rate']:.2f} %" if split["fill_rate"] is not None else "–"]
        for name, split in sorted(manifest["splits"].items(), key=lambda item: (item[0] != "train", item[0]))
    ]  # fmt: skip
    return by_source + "\n\n" + _table(["split", "rows", "examples", "tokens", "fill"], splits, figures=(1, 2, 3, 4))


def _lengths(lengths: Mapping[str, Mapping[str, float]]) -> str:
    names = list(next(iter(lengths.values())))
    rows = [[_code(name), *(f"{value:,}" for value in one.values())] for name, one in list(lengths.items())[:MOST_ROWS]]
    text = _table(["source", *names], rows, figures=range(1, len(names) + 1))
    return "Tokens of an example before the cut.\n\n" + text


def _masks(manifest: Mapping[str, Any]) -> str:
    ledger, options = manifest["ledger"], manifest["options"]
    share = 100 * ledger["trained_tokens"] / max(ledger["tokens"], 1)
    lost = sum(ledger["trained_tokens_lost"].values())
    rules_of = ["Answers carry a loss" if manifest["stage"] != "pt" else "Every token carries a loss"]
    if options.get("train_on_prompt"):
        rules_of.append("prompts as well (`train_on_prompt`)")
    if options.get("mask_history"):
        rules_of.append("of each conversation only the last answer (`mask_history`)")
    return (
        f"{'; '.join(rules_of)}. {ledger['trained_tokens']:,} of {ledger['tokens']:,} tokens ({share:.2f} %) are "
        f"trained; {lost:,} trained tokens were lost to the length limit."
    )


def _excluded(manifest: Mapping[str, Any]) -> str:
    ledger = manifest["ledger"]
    lines = [[f"rejected: {_code(rule)}", f"{count:,}", _meaning(rule)] for rule, count in _most(ledger["rejected"])]
    lines += [[f"dropped: {_code(rule)}", f"{count:,}", _meaning(rule)] for rule, count in _most(ledger["dropped"])]
    if ledger["not_sampled"]:
        lines.append(
            ["not sampled", f"{ledger['not_sampled']:,}", "`max_samples`, `num_samples` or the mixture left them out"]
        )
    if not lines:
        return "None: every record that was read is in the rows."
    return _table(["why", "records", "meaning"], lines, figures=(1,))


def _findings(report: Mapping[str, Any]) -> str:
    counts = report["counts"]
    if not counts:
        return "None."
    rows = [[_code(rule), f"{count:,}", _meaning(rule)] for rule, count in _most(counts)]
    return "Places stand in `report.json`.\n\n" + _table(["rule", "findings", "meaning"], rows, figures=(1,))


def _meaning(rule: str) -> str:
    known = rules().get(rule)
    return _plain(known.meaning) if known else ""


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_ROWS]


def _made(manifest: Mapping[str, Any]) -> str:
    tokenizer, template = manifest["tokenizer"], manifest["template"]
    fence = "```"
    command = "\n".join(clean(line) for line in rebuild_command(manifest, portable=True).splitlines())
    while fence in command:
        fence += "`"
    return (
        f"Key `{manifest['key']}`; tokenizer sha256 `{tokenizer['sha256']}`, {tokenizer['vocab_size']:,} ids; template "
        f"{_code(template['name'])} sha256 `{template['sha256']}`; follows {_code(manifest['compat'])}.\n\n"
        f"Made again, to the byte, with DIR for the tokenizer's folder:\n\n{fence}sh\n{command}\n{fence}\n\n"
        "`prep report OUT` shows this with charts and the tokens themselves; `prep verify OUT` checks every file."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], figures: Iterable[int] = ()) -> str:
    wanted = set(figures)
    line = "|".join("---:" if at in wanted else "---" for at in range(len(head)))
    return "\n".join([f"| {' | '.join(head)} |", f"|{line}|", *(f"| {' | '.join(row)} |" for row in rows)])


def _code(value: object) -> str:
    """An untrusted text as a code span inside of a table: nothing in it is markup, it cannot end the span or cell."""
    text = clean(str(value))[:200].replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""


def _plain(text: str) -> str:
    """A text in running prose: characters that Markdown or HTML would read are escaped."""
    return re.sub(r"([\\`*_\[\]<>|~$&])", r"\\\1", clean(text)[:200])
