"""Build: the whole page from an opened output."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Template
from markupsafe import Markup

from pipeline.inspect.history import load_history
from pipeline.inspect.row_view import Viewer
from pipeline.inspect.select_rows import read_report
from pipeline.inspect.statistics import statistics
from pipeline.output.shards import Shards, each_lineage
from pipeline.reports.markup import page_environment
from stages.tokenize.decode import TokenTexts

from . import sections
from .charts import bar_width
from .samples import as_documents, choose, embedded

MOST_BYTES = 5_000_000
SAMPLE_BYTES = 2_400_000  # of the viewer's rows
LONGEST_TEXT = 300  # characters of one value; a page of a million findings must stay small
PARTS = (  # id of a part, which is its template's name, and its title
    ("ledger", "Ledger"), ("findings", "Findings"), ("lengths", "Lengths"), ("cutoffs", "Cutoff"),
    ("mixture", "Mixture"), ("packing", "Packing"), ("template", "Template proof"), ("samples-part", "Samples"),
    ("lineage", "Lineage"), ("manifest", "Manifest"),
)  # fmt: skip


class Page(NamedTuple):
    """The page, and how many samples its viewer holds."""

    html: str
    samples: int


def report_page(shards: Shards, texts: TokenTexts | None, name: str) -> Page:
    """The page of an output.

    Args:
        shards: An opened output.
        texts: Of its token ids; None when its tokenizer is not at hand, and the viewer then names the option for it.
        name: Of the output, for the heading.

    Raises:
        DataFault: When a file of the output is missing or damaged.
    """
    manifest, report = shards.manifest, read_report(shards)
    stats = statistics(load_history(shards))
    samples = as_documents(Viewer(shards, texts), choose(shards, report["counts"]), SAMPLE_BYTES) if texts else []
    figures = {
        "about": sections.about(manifest),
        "overview": sections.overview(manifest),
        "ledger": sections.ledger(manifest),
        "findings": sections.findings(manifest, report),
        "lengths": sections.lengths(stats),
        "cutoffs": sections.cutoffs(stats),
        "mixture": sections.mixture(manifest),
        "packing": sections.packing(manifest, _fills(shards)),
        "proof": sections.proof(manifest),
        "filled": bool(samples),
        "lineage": sections.lineage(manifest),
        "manifest": sections.manifest_text(manifest),
    }
    template = _template()
    page = _rendered(template, name, figures, samples)
    while len(page.encode("utf-8")) > MOST_BYTES and samples:
        samples = samples[: len(samples) // 2]
        page = _rendered(template, name, figures, samples)
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


def _template() -> Template:
    environment = page_environment(__package__ or "", LONGEST_TEXT)
    environment.filters["bar_width"] = bar_width
    return environment.get_template("page.html")


def _rendered(template: Template, name: str, figures: Mapping[str, Any], samples: list[dict[str, Any]]) -> str:
    style, script = _asset("page.css"), _asset("page.js")
    # markup, not text: two files of our own, and JSON that cannot end its element
    inlined = {"style": Markup(style), "script": Markup(script), "samples": Markup(embedded(samples))}  # noqa: S704
    return template.render(
        figures, name=name, parts=PARTS, style_hash=_hash(style), script_hash=_hash(script), **inlined
    )


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
