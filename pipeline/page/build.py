"""Build: the whole page from an opened output."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from stages.shards import Shards, each_lineage
from stages.tokentext import TokenTexts

from ..history import load_history
from ..lengths import statistics
from ..recipe import rebuild_command
from ..select import read_report
from ..view import Viewer
from . import sections
from .markup import embedded, note, number, safe, section
from .samples import as_documents, choose

MOST_BYTES = 5_000_000
SAMPLE_BYTES = 2_400_000  # of the viewer's rows
MANIFEST_CHARACTERS = 200_000
PARTS = (
    ("ledger", "Ledger"), ("findings", "Findings"), ("lengths", "Lengths"), ("cutoffs", "Cutoff"),
    ("mixture", "Mixture"), ("packing", "Packing"), ("template", "Template proof"), ("samples-part", "Samples"),
    ("lineage", "Lineage"), ("manifest", "Manifest"),
)  # fmt: skip


class Page(NamedTuple):
    """The page, and how many samples its viewer holds."""

    html: str
    samples: int


def report_page(shards: Shards, texts: TokenTexts | None, name: str) -> Page:
    """The page of an output. texts: None when its tokenizer is not at hand; the viewer then says how to give it.

    Raises DataFault when a file of the output is missing or damaged.
    """
    manifest, report = shards.manifest, read_report(shards)
    stats = statistics(load_history(shards))
    samples = as_documents(Viewer(shards, texts), choose(shards, report["counts"]), SAMPLE_BYTES) if texts else []
    body = [
        sections.overview(manifest),
        sections.ledger(manifest),
        sections.findings(manifest, report),
        sections.lengths(stats),
        sections.cutoffs(stats),
        sections.mixture(manifest),
        sections.packing(manifest, _fills(shards)),
        sections.proof(manifest),
        _viewer(bool(samples)),
        sections.lineage(manifest),
        _manifest(manifest),
    ]
    page = _document(name, manifest, "".join(body), samples)
    while len(page.encode("utf-8")) > MOST_BYTES and samples:
        samples = samples[: len(samples) // 2]
        page = _document(name, manifest, "".join(body), samples)
    return Page(page, len(samples))


def _fills(shards: Shards) -> list[list[int]]:
    """Rows of a packed output by percent of `cutoff_len` that they fill: [from, to, how many]."""
    if not shards.manifest["packed"]:
        return []
    counts = np.zeros(10, dtype=np.int64)
    for split in shards.splits:
        for index, (_, line) in enumerate(each_lineage(shards, split)):
            tokens = np.bincount(line.row, weights=line.tokens, minlength=int(shards.shards(split)[index]["rows"]))
            tenths = np.minimum(tokens * 10 // int(shards.manifest["cutoff_len"]), 9).astype(np.int64)
            counts += np.bincount(tenths, minlength=10)
    first = int(np.flatnonzero(counts)[0]) if counts.any() else 0
    return [[at * 10, at * 10 + 10, int(counts[at])] for at in range(first, 10)]


def _viewer(filled: bool) -> str:
    if not filled:
        text = note(
            "The tokenizer was not found, so tokens have no text here: <code>prep report OUT --tokenizer DIR</code>."
        )
        return section("samples-part", "Samples", text)
    return section(
        "samples-part",
        "Samples",
        '<p><span class="key on">trained</span> tokens carry a loss, <span class="key off">masked</span> ones are '
        'context; <span class="key stop">outlined</span> is an end mark. ⏎ is a line break, ◌ a part of a letter, a '
        "backslash with digits a hidden character. The arrow keys ← and → step through.</p>"
        "<noscript><p>This part needs JavaScript; <code>prep inspect OUT</code> shows the same.</p></noscript>"
        '<div id="viewer" hidden><div class="controls" role="group" aria-label="samples">'
        '<button id="back" type="button">← previous</button><select id="pick" aria-label="sample"></select>'
        '<button id="next" type="button">next →</button>'
        '<label><input id="borders" type="checkbox" checked> token borders</label>'
        '<label><input id="ids" type="checkbox"> ids</label></div>'
        '<p id="place" aria-live="polite"></p><div id="stage"></div></div>',
    )


def _manifest(manifest: Any) -> str:
    text = json.dumps(manifest, ensure_ascii=True, indent=1, sort_keys=True)
    if len(text) > MANIFEST_CHARACTERS:
        slim = {key: value for key, value in manifest.items() if key not in ("inputs", "splits", "files")}
        text = json.dumps(slim, ensure_ascii=True, indent=1, sort_keys=True)[:MANIFEST_CHARACTERS]
        text += "\n(inputs, splits and files left out here: see manifest.json)"
    run = manifest.get("run", {})
    made = f"Finished {safe(run.get('finished', ''))}, prep {safe(run.get('versions', {}).get('prep-llm', ''))}. "
    body = f"<p>{made}Made again, to the byte, by:</p><pre>{_lines(rebuild_command(manifest)[:4000])}</pre>"
    body += f"<details><summary>manifest.json</summary><pre>{_lines(text)}</pre></details>"
    return section("manifest", "Manifest", body)


def _lines(text: str) -> str:
    return "\n".join(safe(line) for line in text.splitlines())


def _document(name: str, manifest: Any, body: str, samples: list[dict[str, Any]]) -> str:
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    packed = "packed" if manifest["packed"] else "one example a row"
    about = (
        f"{safe(manifest['stage'])}, {packed}, template {safe(manifest['template']['name'])}, "
        f"cutoff_len {number(manifest['cutoff_len'])}, key {safe(manifest['key'][:16])}"
    )
    links = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title in PARTS)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
        '<link rel="icon" href="data:,">'
        f"<title>prep report: {safe(name)}</title><style>{style}</style></head><body>"
        '<a class="skip" href="#ledger">skip to the figures</a>'
        f'<header><h1>{safe(name)}</h1><p class="dim">{about}</p></header>'
        f'<nav aria-label="parts of this page"><ul>{links}</ul></nav><main>{body}</main>'
        "<footer>Made by <code>prep report</code>. This page loads nothing; figures are those of manifest.json and "
        "report.json.</footer>"
        f'<script type="application/json" id="samples">{embedded(samples)}</script>'
        f"<script>{script}</script></body></html>\n"
    )


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
