"""`prep inspect`: what is shown is what is stored, and nothing that a record holds can act on the terminal."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.cli import prep
from pipeline.cli import run as main
from pipeline.config import load_config
from pipeline.inspect.open_target import open_shards
from pipeline.inspect.row_text import cells
from pipeline.runs.pack.run import prepare
from stages.tokenize.decode import TokenTexts
from stages.tokenize.tokenizer_files import load_tokenizer_files

ROOT = Path(__file__).parents[3]
DEMO, TINY = ROOT / "fixtures" / "demo", ROOT / "fixtures" / "tiny"
PAYLOADS: list[str] = json.loads((ROOT / "fixtures" / "hostile" / "payloads.json").read_text(encoding="utf-8"))
TEXTS = TokenTexts(load_tokenizer_files(str(TINY)))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, packed, with some records cut."""
    out = tmp_path_factory.mktemp("demo") / "out"
    prepare(load_config(str(DEMO / "sft.yaml"), ["cutoff_len=100"], for_command="pack"), out, lambda line: None)
    return out


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty records whose texts try to break out of wherever they are shown."""
    folder = tmp_path_factory.mktemp("hostile")
    data = folder / "a.jsonl"
    lines = [json.dumps({"instruction": text, "output": f"{text} {number}"}) for number, text in enumerate(PAYLOADS)]
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=512"]
    manifest = prepare(load_config(None, words, for_command="pack"), folder / "out", lambda line: None).manifest
    assert manifest["ledger"]["examples"] == 40
    return folder / "out"


def shown(*words: str, env: dict[str, str] | None = None) -> str:
    result = CliRunner(env={"NO_COLOR": "", "FORCE_COLOR": "", **(env or {})}).invoke(
        prep, ["inspect", *words], catch_exceptions=False, standalone_mode=False, color=True
    )
    return result.stdout


def as_data(*words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(shown(*words, "--json"))["rows"]
    return rows


def test_json_is_the_stored_row(demo: Path) -> None:
    """Ids and labels are the shard's, texts join to what the tokenizer decodes, and each example names its line."""
    shards = open_shards(str(demo))
    rows = as_data(str(demo), "--limit", "99")
    assert len(rows) == shards.rows("train")
    for told in rows:
        row = shards.row("train", told["row"])
        stretches = [stretch for example in told["examples"] for stretch in example["stretches"]]
        assert [number for stretch in stretches for number in stretch["ids"]] == row.ids.tolist()
        assert [label for stretch in stretches for label in stretch["labels"]] == row.labels.tolist()
        for stretch in stretches:
            assert "".join(stretch["texts"]) == TEXTS.text(stretch["ids"])
            assert stretch["trained"] == (stretch["labels"][0] != -100)
            assert len({label != -100 for label in stretch["labels"]}) == 1
        for example in told["examples"]:
            record = json.loads(Path(example["file"]).read_text("utf-8").splitlines()[example["line"] - 1])
            first = record.get("instruction") or (record.get("conversations") or record["messages"])[0]
            text = first if isinstance(first, str) else first.get("value", first.get("content"))
            joined = "".join(piece for stretch in example["stretches"] for piece in stretch["texts"])
            assert example["tokens_lost"] or text in joined


def test_the_demo_reads_without_a_manual(demo: Path) -> None:
    """Legend on top, no line over 80 columns, file and line of each example, masks told apart in plain text."""
    text = shown(str(demo), "--limit", "99")
    lines = text.splitlines()
    assert lines[0].startswith("█ trained")
    assert "masked" in lines[0]
    assert "token border" in lines[1]
    assert max(cells(line) for line in lines) <= 80
    assert re.search(r"^example 1 of \d+  .*\.jsonl:\d+$", text, re.MULTILINE)
    assert re.search(r"^answer 1 +\d+ █ ", text, re.MULTILINE)
    assert re.search(r"^prompt 1 +\d+ │ ", text, re.MULTILINE)
    assert "<|im_end|>■" in text
    assert "more were cut" in text


def test_colour_only_where_it_is_wanted(demo: Path) -> None:
    """NO_COLOR and --plain win, a pipe has no colour, FORCE_COLOR gives two colours."""
    assert "\x1b" not in shown(str(demo))
    assert "\x1b" not in shown(str(demo), env={"NO_COLOR": "1", "FORCE_COLOR": "1"})
    assert "\x1b" not in shown(str(demo), "--plain", env={"FORCE_COLOR": "1"})
    coloured = shown(str(demo), env={"FORCE_COLOR": "1"})
    assert "\x1b[32m" in coloured
    assert "\x1b[36m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == shown(str(demo))


def test_no_control_character_reaches_the_terminal(hostile: Path) -> None:
    """Forty hostile records: what comes out is printable, in text and in JSON, and the payload can be read."""
    for words in ([], ["--ids"], ["--json"]):
        text = shown(str(hostile), "--limit", "99", *words)
        bad = {
            char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") and char != "\n"
        }
        assert not bad
    told = as_data(str(hostile), "--limit", "99")
    for row, payload in zip(told, PAYLOADS, strict=True):
        assert payload in "".join(text for part in row["examples"][0]["stretches"] for text in part["texts"])
    painted = shown(str(hostile), "--limit", "99", env={"FORCE_COLOR": "1"})
    assert not re.search(r"\x1b(?!\[[0-9;]*m)", painted)
    assert "\x07" not in painted


def test_find_shows_the_examples_that_hold_a_text(demo: Path) -> None:
    """Only they are shown, and a text that nobody wrote is exit code 1."""
    rows = as_data(str(demo), "--find", "barometer")
    texts = ["".join(t for s in part["stretches"] for t in s["texts"]) for row in rows for part in row["examples"]]
    assert texts
    assert all("barometer" in text for text in texts)
    assert main(["inspect", str(demo), "--find", "no such words"]) == 1


def test_rule_shows_the_records_that_its_findings_name(hostile: Path, demo: Path) -> None:
    """Lines of the findings in report.json and lines shown are the same; an unknown rule is a usage error."""
    report = json.loads((hostile / "report.json").read_text(encoding="utf-8"))
    rule = "text.control"
    lines = {found["line"] for found in report["findings"] if found["rule"] == rule}
    rows = as_data(str(hostile), "--rule", rule, "--limit", "99")
    assert lines
    assert {part["line"] for row in rows for part in row["examples"]} == lines
    assert main(["inspect", str(hostile), "--rule", "text.contrl"]) == 2
    assert main(["inspect", str(demo), "--rule", rule]) == 1


def test_a_configuration_is_shown_before_packing(demo: Path) -> None:
    """`prep inspect CONFIG` shows the rows that packing it writes."""
    rows = as_data(str(DEMO / "sft.yaml"), "cutoff_len=100", "--row", "1")
    packed = as_data(str(demo), "--row", "1")
    assert rows == packed


def test_two_ways_to_choose_are_one_too_many(demo: Path) -> None:
    """Contradicting options, rows and splits that are not there: exit code 2."""
    for words in (
        ["--row", "0", "--find", "x"],
        ["--row", "999"],
        ["--split", "tset"],
        ["--rwo", "3"],
        ["--worst", "x"],
    ):
        assert main(["inspect", str(demo), *words]) == 2
