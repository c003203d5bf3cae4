"""Select: which rows, and which examples in them, `prep inspect` shows.

`find` decodes until it has enough; `rule` and `worst` look at the lineage alone.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.output.lineage_columns import Lineage
from pipeline.output.shards import Shards, each_lineage
from registry.errors import DataFault, UsageFault, did_you_mean, unreadable
from stages.tokenize.decode import TokenTexts
from stages.truncate import CutOptions
from stages.truncate.apply import example_tokens, trained_tokens


class Pick(NamedTuple):
    """A row to show; part: one example of it, None for all."""

    split: str
    row: int
    part: int | None = None


def first_rows(shards: Shards, splits: Sequence[str]) -> Iterator[Pick]:
    """Every row, in order."""
    for split in splits:
        for number in range(shards.rows(split)):
            yield Pick(split, number)


def find_text(shards: Shards, texts: TokenTexts, splits: Sequence[str], wanted: str) -> Iterator[Pick]:
    """Examples whose decoded tokens hold a text, letter for letter.

    Args:
        shards: An opened output.
        texts: Of its token ids.
        splits: Where to look, in this order.
        wanted: The text.
    """
    for split in splits:
        for number in range(shards.rows(split)):
            row = shards.row(split, number)
            if wanted not in texts.text(row.ids.tolist()):
                continue
            for part in row.parts:
                if wanted in texts.text(row.ids[part.start : part.start + part.tokens].tolist()):
                    yield Pick(split, number, part.number)


class Named(NamedTuple):
    """What `by_rule` found. listed: findings of the rule in report.json, of `counted` in all; without_row: those whose
    record stands in no row of the splits."""

    picks: list[Pick]
    listed: int
    counted: int
    without_row: int


def by_rule(shards: Shards, splits: Sequence[str], rule: str) -> Named:
    """The examples of records that a rule's findings name.

    Args:
        shards: An opened output.
        splits: Where to look, in this order.
        rule: Id of the rule.

    Raises:
        UsageFault: When there is no such rule.
        DataFault: When report.json cannot be read.
    """
    from registry.rules import rules

    report = read_report(shards)
    counts = report["counts"]
    if rule not in counts and rule not in rules():
        raise UsageFault(f"--rule {rule}: there is no such rule{did_you_mean(rule, [*counts, *rules()])}")
    inputs = [str(entry["path"]) for entry in shards.manifest["inputs"]]
    findings = [found for found in report["findings"] if found["rule"] == rule]
    places = {(at, int(found["line"])) for found in findings for at, path in enumerate(inputs) if path == found["path"]}
    picks: list[Pick] = []
    seen: set[tuple[int, int]] = set()
    keys = np.array(sorted(_key(at, line) for at, line in places if line > 0), dtype=np.int64)
    for split in splits:
        first = 0
        for index, shard in enumerate(shards.shards(split)):
            rows, sources, lines = shards.places(split, index)
            within = np.arange(len(rows)) - np.searchsorted(rows, rows)
            for at in np.flatnonzero(np.isin((sources.astype(np.int64) << 40) | lines, keys)).tolist():
                picks.append(Pick(split, first + int(rows[at]), int(within[at])))
                seen.add((int(sources[at]), int(lines[at])))
            first += int(shard["rows"])
    return Named(picks, len(findings), int(counts.get(rule, 0)), len(places - seen))


def _key(source: int, line: int) -> int:
    return (source << 40) | line


def read_report(shards: Shards) -> dict[str, Any]:
    """OUT/report.json. Raises DataFault when it is not there or damaged, MachineFault when it may not be read."""
    path = shards.out / "report.json"
    try:
        report: dict[str, Any] = json.loads(shards.plain_file(path.name).read_bytes())
        return report | {"counts": dict(report["counts"]), "findings": list(report["findings"])}
    except PermissionError as error:
        raise unreadable(error, path) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFault(f"{path}: cannot be read: {error}", hint="run `prep pack` again") from error


def worst(shards: Shards, splits: Sequence[str], by: str, limit: int) -> list[Pick]:
    """The examples that lost most tokens, were longest, or train on the smallest share; the worst first.

    Args:
        shards: An opened output.
        splits: Where to look.
        by: truncated | longest | least-trained.
        limit: Most examples that are returned.

    Returns:
        Equal ones in the order of the rows; for `truncated` only examples that lost something.
    """
    best: list[tuple[float, int, Pick]] = []
    count = 0
    for split in splits:
        for first, line in each_lineage(shards, split):
            badness = _badness(line, by, shards)
            within = np.arange(len(line.row)) - np.searchsorted(line.row, line.row)
            for at in np.argsort(-badness, kind="stable")[:limit].tolist():
                if by == "truncated" and badness[at] <= 0:
                    break
                best.append((-float(badness[at]), count + at, Pick(split, first + int(line.row[at]), int(within[at]))))
            count += len(line.row)
            best = heapq.nsmallest(limit, best)
    return [pick for _, _, pick in best]


def _badness(line: Lineage, by: str, shards: Shards) -> NDArray[np.float64]:
    options = CutOptions(**{name: value for name, value in shards.manifest["cut"].items() if name != "overlong"})
    counts = line.before.counts
    before = example_tokens(line.before.values, counts, options).astype(np.float64)
    if by == "longest":
        return before
    after = example_tokens(line.after.values, counts, options).astype(np.float64)
    if by == "truncated":
        return before - after
    trained = trained_tokens(line.after.values, line.trained.values, counts, options)
    return np.asarray(-trained / np.maximum(after, 1))
