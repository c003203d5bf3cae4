"""`prep trace`: a packed token leads to its source line, and a source line to its tokens."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pipeline.cli import run as main
from pipeline.config import load_config
from pipeline.inspect.open_target import open_shards
from pipeline.inspect.trace import trace_row, trace_source
from pipeline.output.shards import Shards
from pipeline.runs.pack.run import prepare
from registry.errors import UsageFault

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "fixtures" / "demo"
TINY = ROOT / "fixtures" / "tiny"


def made(out: Path, *words: str) -> Shards:
    config = load_config(str(DEMO / "sft.yaml"), list(words), for_command="pack")
    prepare(config, out, lambda line: None, keep_cache=False)
    return open_shards(str(out))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """The demo in packed rows, tight enough that records are cut, in several shards."""
    out = tmp_path_factory.mktemp("packed") / "out"
    return made(out, "cutoff_len=110", "shard_size=4096", "val_size=0.2", "shuffle=true")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], list[int]]:
    """(file name, line) -> the record's ids, each source on its own and in its own order: no lineage is asked."""
    ids = {}
    for name in ("alpaca", "sharegpt", "openai"):
        out = tmp_path_factory.mktemp(name) / "out"
        alone = made(out, f"dataset=demo_{name}", "packing=false", "cutoff_len=110000")
        lines = [at + 1 for at, line in enumerate((DEMO / f"{name}.jsonl").read_text("utf-8").splitlines()) if line]
        assert alone.rows("train") == len(lines)
        for row, line in enumerate(lines):
            ids[f"{name}.jsonl", line] = alone.row("train", row).ids.tolist()
    return ids


def test_random_tokens_lead_to_their_record_and_back(packed: Shards, encoded: dict[tuple[str, int], list[int]]) -> None:
    """200 tokens: the line that trace names holds that token when it is encoded anew; the way back finds the row."""
    dice = random.Random(3)
    assert len(packed.shards("train")) > 1
    for _ in range(200):
        split = dice.choice(packed.splits)
        row = packed.row(split, dice.randrange(packed.rows(split)))
        token = dice.randrange(len(row.ids))
        found = trace_row(packed, split, row.number, token)
        part = found["examples"][0]
        whole = encoded[Path(part["file"]).name, part["line"]]
        assert found["id"] == row.ids[token]
        if not part["tokens_lost"]:
            assert whole == row.ids[part["start"] : part["start"] + part["tokens"]].tolist()
            assert whole[found["in_example"]] == found["id"]
        else:  # each segment was cut at its end, so that what is left of the first one is a prefix
            kept = packed.segments(row, row.parts[part["example"]])[0]
            assert whole[: kept.end - kept.start] == row.ids[kept.start : kept.end].tolist()
        back = trace_source(packed, f"{part['file']}:{part['line']}")["places"]
        assert any(
            (place["split"], place["row"]) == (split, row.number)
            and place["start"] <= token < place["start"] + place["tokens"]
            for place in back
        )


def test_every_record_is_found_from_its_line(packed: Shards, encoded: dict[tuple[str, int], list[int]]) -> None:
    """Each source line stands in exactly one place, and the ranges of a row neither overlap nor leave a gap."""
    for name, line in encoded:
        assert len(trace_source(packed, f"{name}:{line}")["places"]) == 1
    for split in packed.splits:
        for number in range(packed.rows(split)):
            parts = trace_row(packed, split, number)["examples"]
            ends = [part["start"] + part["tokens"] for part in parts]
            assert [part["start"] for part in parts] == [0, *ends[:-1]]


def test_turn_and_half_of_a_token(packed: Shards) -> None:
    """Prompts carry no loss and answers do, where nothing else was requested."""
    for number in range(packed.rows("train")):
        for token in range(0, len(packed.row("train", number).ids), 7):
            found = trace_row(packed, "train", number, token)
            assert found["half"] == ("answer" if found["trained"] else "prompt")


def test_lines_that_stand_nowhere_are_explained(tmp_path: Path) -> None:
    """Rejected, dropped for its length, not sampled, or not there at all: each is said."""
    data = tmp_path / "a.jsonl"
    talks = [
        {"messages": [{"role": "user", "content": "hi " * n}, {"role": "assistant", "content": "ho"}]}
        for n in (1, 90, 2)
    ]
    bad = {"messages": [{"role": "user", "content": "alone"}]}
    data.write_text("".join(json.dumps(record) + "\n" for record in (*talks, bad)), encoding="utf-8")
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=64", "overlong=drop"]
    out = tmp_path / "out"
    prepare(load_config(None, words, for_command="pack"), out, lambda line: None, keep_cache=False)
    shards = open_shards(str(out))
    assert "length limit" in trace_source(shards, "a.jsonl:2")["reason"]
    assert "role.last-not-answer" in trace_source(shards, "a.jsonl:4")["reason"]
    assert "begins in line 3" in trace_source(shards, "a.jsonl:9")["reason"]
    assert main(["trace", str(out), "--source", "a.jsonl:9"]) == 1
    assert main(["trace", str(out), "--source", "a.jsonl:3"]) == 0


def test_what_is_not_there_is_a_usage_error(packed: Shards) -> None:
    """Rows, tokens, splits and files that do not exist end with exit code 2 and the range that does."""
    for words in (
        ["--row", "9999"], ["--row", "-1"], ["--row", "0", "--token", "9999"], ["--row", "0", "--split", "test"],
        ["--source", "nothing.jsonl:1"], ["--source", "alpaca.jsonl"], ["--source", "alpaca.jsonl:0"], [],
        ["--row", "0", "--source", "alpaca.jsonl:1"],
    ):  # fmt: skip
        assert main(["trace", str(packed.out), *words]) == 2
    with pytest.raises(UsageFault, match="rows are 0 to"):
        trace_row(packed, "train", 9999)
