"""Which rows `prep inspect` shows: what a search finds, what a finding names, and what is worst."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.cli import run as main
from pipeline.inspect.open_target import open_shards
from pipeline.inspect.select_rows import Pick, by_rule, find_text, first_rows, read_report, worst
from pipeline.output.shards import Shards
from registry.errors import DataFault, UsageFault
from stages.tokenize.decode import TokenTexts
from stages.tokenize.tokenizer_files import load_tokenizer_files
from tests.support.packed_outputs import TINY, demo_output
from tests.support.training import relist

TEXTS = TokenTexts(load_tokenizer_files(str(TINY)))


@pytest.fixture(scope="module")
def demo() -> Path:
    """The demo, packed, with some records cut."""
    return demo_output("cutoff_len=100")


def test_find_misses_nothing(demo: Path) -> None:
    """Every example whose decoded tokens hold the text is found."""
    shards = open_shards(str(demo))
    want = 0
    for number in range(shards.rows("train")):
        row = shards.row("train", number)
        want += sum("the" in TEXTS.text(row.ids[part.start : part.start + part.tokens].tolist()) for part in row.parts)
    assert len(list(find_text(shards, TEXTS, ["train"], "the"))) == want > 3


def test_worst_comes_first(demo: Path) -> None:
    """Truncated by tokens lost, longest by tokens before the cut, least-trained by share: as a full sort would say."""
    shards = open_shards(str(demo))
    every = [
        (row, part)
        for row in (shards.row("train", number) for number in range(shards.rows("train")))
        for part in row.parts
    ]
    keys = {
        "truncated": lambda row, part: -part.lost,
        "longest": lambda row, part: -sum(part.before),
        "least-trained": lambda row, part: (row.labels[part.start : part.start + part.tokens] != -100).mean(),
    }
    for by, key in keys.items():
        want = sorted(every, key=lambda item: key(*item))[:4]
        if by == "truncated":
            want = [item for item in want if item[1].lost]
        found = worst(shards, ["train"], by, 4)
        assert [(pick.row, pick.part) for pick in found] == [(row.number, part.number) for row, part in want]
    assert main(["inspect", str(demo), "--worst", "longest"]) == 0


def test_rows_come_in_the_order_of_the_splits(demo: Path) -> None:
    shards = open_shards(str(demo))
    picks = list(first_rows(shards, ["train"]))
    assert picks == [Pick("train", row) for row in range(shards.rows("train"))]
    assert list(first_rows(shards, [])) == []


def with_report(demo: Path, folder: Path, content: str) -> Shards:
    """The output with another report.json."""
    shutil.copytree(demo, folder / "out")
    (folder / "out" / "report.json").write_text(content, encoding="utf-8")
    relist(folder / "out", "report.json")
    return open_shards(str(folder / "out"))


def test_a_rule_picks_the_example_of_the_line_that_its_finding_names(demo: Path, tmp_path: Path) -> None:
    """A line that stands in no row is counted apart, and so are findings that the report does not list."""
    shards = open_shards(str(demo))
    part = shards.row("train", 1).parts[0]
    path = shards.manifest["inputs"][part.source]["path"]
    found = [{"rule": "set.duplicate", "path": path, "line": line} for line in (part.line, 9999)]
    report = {"counts": {"set.duplicate": 7}, "findings": [*found, {"rule": "text.control", "path": path, "line": 1}]}
    named = by_rule(with_report(demo, tmp_path, json.dumps(report)), ["train"], "set.duplicate")
    assert named.picks == [Pick("train", 1, 0)]
    assert (named.listed, named.counted, named.without_row) == (2, 7, 1)


def test_a_rule_that_does_not_exist_gets_a_suggestion(demo: Path) -> None:
    with pytest.raises(UsageFault, match=r"did you mean \"text\.control\""):
        by_rule(open_shards(str(demo)), ["train"], "text.contrl")


@pytest.mark.parametrize("content", ["{", "[]", '{"counts": 1, "findings": []}', '{"counts": {}}'])
def test_a_damaged_report_is_named(content: str, demo: Path, tmp_path: Path) -> None:
    with pytest.raises(DataFault, match=r"report\.json: cannot be read"):
        read_report(with_report(demo, tmp_path, content))
