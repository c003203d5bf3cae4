"""Samples: the rows and examples that the page's viewer holds, and their form in it.

Rows spread evenly over the data, and the examples that a person should look at: cut most, longest, least trained,
named by findings. Long turns keep their beginning and end; the whole stays under `budget_bytes`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pipeline.inspect.row_text import drawn
from pipeline.inspect.row_view import Example, Stretch, View, Viewer
from pipeline.inspect.select_rows import Pick, by_rule, worst
from pipeline.output.shards import Shards
from stages.core.display import clean

ROWS = 20
HEAD_TOKENS, TAIL_TOKENS = 180, 50
EXAMPLES_OF_A_ROW = 8
WORST_EACH = 4
RULES = 8
LONGEST_TOKEN = 200  # characters


class Sample(NamedTuple):
    """What to show, and why."""

    why: str
    pick: Pick


def choose(shards: Shards, counts: dict[str, int]) -> list[Sample]:
    """The samples of an output; counts: findings by rule."""
    chosen: list[Sample] = []
    for split in shards.splits:
        rows = shards.rows(split)
        share = max(ROWS * rows // max(sum(shards.rows(name) for name in shards.splits), 1), 4)
        step = max(rows / share, 1.0)
        spread = sorted({min(int(at * step), rows - 1) for at in range(share)}) if rows else []
        chosen += [Sample(f"{split} row {row}", Pick(split, row)) for row in spread]
    for by, why in (("truncated", "lost most tokens"), ("longest", "longest"), ("least-trained", "least trained")):
        found = worst(shards, shards.splits, by, WORST_EACH)
        chosen += [Sample(f"{why}: {pick.split} row {pick.row}", pick) for pick in found]
    for rule, _ in sorted(counts.items(), key=lambda item: (item[1], item[0]))[:RULES]:
        picks = by_rule(shards, shards.splits, rule).picks[:1]
        chosen += [Sample(f"{rule}: {pick.split} row {pick.row}", pick) for pick in picks]
    return chosen


def as_documents(viewer: Viewer, samples: list[Sample], budget_bytes: int) -> list[dict[str, Any]]:
    """The samples as the viewer's script takes them, until the budget is used up.

    Args:
        viewer: Of the output that the samples are from.
        samples: What to show, the most important first.
        budget_bytes: Most bytes of all documents as JSON.
    """
    documents, used = [], 0
    for sample in samples:
        split, row, part = sample.pick
        document = _view(viewer.view(split, row, None if part is None else {part}), viewer) | {"why": clean(sample.why)}
        used += len(embedded(document)) + 1
        if used > budget_bytes:
            break
        documents.append(document)
    return documents


def _view(view: View, viewer: Viewer) -> dict[str, Any]:
    examples = view.examples[:EXAMPLES_OF_A_ROW]
    return {
        "split": clean(view.split),
        "row": view.row,
        "shard": clean(view.shard),
        "tokens": view.tokens,
        "trained": view.trained_tokens,
        "of": view.of,
        "left": len(view.examples) - len(examples),
        "label": view.label,
        "examples": [_example(example, view, viewer) for example in examples],
    }


def _example(example: Example, view: View, viewer: Viewer) -> dict[str, Any]:
    about = example.about
    return {
        "n": about["example"] + 1,
        "place": clean(f"{about['file']}:{about['line']}"[-LONGEST_TOKEN:]),
        "start": about["start"],
        "tokens": about["tokens"],
        "trained": about["trained_tokens"],
        "lost": about["tokens_lost"],
        "stretches": [_stretch(stretch, view, viewer) for stretch in example.stretches],
    }


def _stretch(stretch: Stretch, view: View, viewer: Viewer) -> dict[str, Any]:
    """A stretch for the script: name, mask, and tokens as [text, id, mark].

    A number alone stands for so many tokens that are not shown. mark: 1 for an end mark, a text for a label that is
    another token.
    """
    turn = f" {stretch.turn + 1}" if stretch.segment in ("prompt", "answer") and view.label is None else ""
    return {
        "name": f"{stretch.segment}{turn}",
        "on": stretch.trained,
        "count": len(stretch.ids),
        "tokens": list(_tokens(stretch, view, viewer)),
    }


def _tokens(stretch: Stretch, view: View, viewer: Viewer) -> Iterator[Any]:
    count = len(stretch.ids)
    long = count > HEAD_TOKENS + TAIL_TOKENS + 20
    for at in range(count):
        if long and HEAD_TOKENS <= at < count - TAIL_TOKENS:
            if at == HEAD_TOKENS:
                yield count - HEAD_TOKENS - TAIL_TOKENS
            continue
        number, label = stretch.ids[at], stretch.labels[at]
        # line breaks are drawn by the page, everything else that is hidden is an escape
        text = "\n".join(drawn(line) for line in stretch.texts[at][:LONGEST_TOKEN].split("\n"))
        token: list[Any] = [text, number]
        if stretch.trained and label != number:
            token.append(clean(viewer.texts.text([label])))
        elif number in view.stops:
            token.append(1)
        yield token


def embedded(document: Any) -> str:
    """JSON for a script element: ASCII, and nothing in it can end the element or begin a comment."""
    text = json.dumps(document, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\x7f", "\\u007f")
