"""The reader of an output: a row is what was written, and damage is a clear error."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import load_config
from pipeline.inspect.open_target import open_shards
from pipeline.output.shards import Shards, each_lineage
from pipeline.runs.pack.run import prepare
from registry.errors import DataFault, UsageFault
from stages.writers.lineage import masks

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "fixtures" / "demo"
KINDS = {
    "packed": [
        "stage=sft",
        "dataset=demo_alpaca,demo_sharegpt,demo_openai",
        "template=qwen3",
        "packing=true",
        "cutoff_len=100",
    ],
    "unpacked": ["stage=sft", "dataset=demo_sharegpt", "template=mistral", "cutoff_len=60"],
    "documents": ["stage=pt", "dataset=demo_text", "template=empty", "cutoff_len=40"],
    "pairs": ["stage=dpo", "dataset=demo_dpo", "template=qwen3", "cutoff_len=50"],
    "verdicts": ["stage=kto", "dataset=demo_kto", "template=qwen3", "cutoff_len=60"],
}


def made(out: Path, *words: str) -> Shards:
    base = [f"dataset_dir={DEMO}", f"model_name_or_path={ROOT / 'fixtures' / 'tiny'}", "shard_size=1024"]
    prepare(load_config(None, [*base, *words], for_command="pack"), out, lambda line: None, keep_cache=False)
    return open_shards(str(out))


@pytest.fixture(scope="module", params=KINDS)
def shards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return made(tmp_path_factory.mktemp("made") / "out", *KINDS[request.param])


def table(shards: Shards, split: str) -> list[dict[str, Any]]:
    """Every row of a split, read by pyarrow alone."""
    rows: list[dict[str, Any]] = []
    for shard in shards.shards(split):
        rows += pa.ipc.open_stream((shards.out / shard["file"]).read_bytes()).read_all().to_pylist()
    return rows


def test_rows_are_what_the_files_hold(shards: Shards) -> None:
    """Ids, labels and lengths of every row, whatever order they are read in."""
    rows = table(shards, "train")
    assert len(rows) == shards.rows("train")
    assert len(shards.shards("train")) > 1 or shards.manifest["splits"]["train"]["tokens"] < 512
    for number in reversed(range(len(rows))):
        row, want = shards.row("train", number), rows[number]
        columns = [value for name, value in want.items() if name.endswith("_ids")]
        assert row.ids.tolist() == [token for column in columns for token in column]
        assert list(row.columns.values()) == [len(column) for column in columns]
        if "labels" in want:
            assert row.labels.tolist() == want["labels"]
        else:
            prompt = len(columns[0])
            assert (row.labels[:prompt] == -100).all()
            assert row.labels[prompt:].tolist() == row.ids[prompt:].tolist()
        assert row.seq_lengths == want.get("seq_lengths")
        assert row.label == want.get("label")


def test_examples_tile_their_row(shards: Shards) -> None:
    """Examples and their segments cover each row without gap or overlap, and lengths agree with the recorded ones."""
    trained = 0
    for number in range(shards.rows("train")):
        row = shards.row("train", number)
        assert [part.start for part in row.parts] == np.cumsum([0, *(part.tokens for part in row.parts)])[:-1].tolist()
        if row.seq_lengths is not None:
            assert row.seq_lengths == [part.tokens for part in row.parts]
        covered = [segment for part in row.parts for segment in shards.segments(row, part)]
        assert [segment.start for segment in covered] == [0, *(segment.end for segment in covered)][: len(covered)]
        assert covered[-1].end == len(row.ids)
        trained += row.trained
    assert trained == shards.manifest["splits"]["train"]["trained_tokens"]


def test_lineage_adds_up_to_the_manifest(shards: Shards) -> None:
    """Tokens and rows of all shards' lineage are the split's."""
    split = shards.manifest["splits"]["train"]
    lines = list(each_lineage(shards, "train"))
    assert sum(int(line.tokens.sum()) for _, line in lines) == split["tokens"]
    assert [first for first, _ in lines] == np.cumsum([0, *(shard["rows"] for shard in split["shards"])])[:-1].tolist()
    for _, line in lines:
        cut = np.add.reduceat(line.before.values - line.after.values, line.before.borders[:-1]) if len(line.row) else []
        assert ((np.asarray(cut) > 0) == line.cut).all()


def test_lineage_is_small() -> None:
    """Usual masks cost nothing, so that the lineage of a large set stays under 2 % of its shards."""
    counts = np.full(4000, 2, dtype=np.int32)
    column = masks(np.tile(np.array([0, 1], dtype=np.uint8), 4000), counts, "lm")
    assert column.null_count == 4000
    assert len(column.values) == 0


def test_what_is_not_there_is_named(shards: Shards) -> None:
    """Rows and splits that do not exist are the user's mistake, with the range that does."""
    with pytest.raises(UsageFault, match="rows are 0 to"):
        shards.row("train", shards.rows("train"))
    with pytest.raises(UsageFault, match="rows are 0 to"):
        shards.row("train", -1)
    with pytest.raises(UsageFault, match='did you mean "train"'):
        shards.row("trian", 0)


@pytest.mark.parametrize("damage", ["cut", "gone", "emptied", "garbled", "other lineage", "lineage gone"])
def test_damage_is_named_with_its_file(damage: str, tmp_path: Path) -> None:
    """A damaged shard or lineage file ends with the file's name and what to do, never with another row."""
    shards = made(tmp_path / "out", *KINDS["packed"])
    shard = shards.shards("train")[0]
    path, lineage = shards.out / shard["file"], shards.out / shard["lineage"]["file"]
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "gone":
        path.unlink()
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "garbled":
        path.write_bytes(b"\xff" * len(data))
    elif damage == "other lineage":
        shutil.copy(shards.out / shards.shards("train")[1]["lineage"]["file"], lineage)
    else:
        lineage.unlink()
    with pytest.raises(DataFault, match=r"prep verify|arrow") as caught:
        Shards(shards.out, shards.manifest).row("train", 0)
    assert ".arrow" in caught.value.problems[0]


def test_a_manifest_cannot_point_outside(tmp_path: Path) -> None:
    """A manifest from elsewhere opens no file beyond its folder."""
    shards = made(tmp_path / "out", *KINDS["verdicts"])
    manifest = copy.deepcopy(dict(shards.manifest))
    manifest["splits"]["train"]["shards"][0]["file"] = "../../etc/passwd"
    with pytest.raises(DataFault, match="outside"):
        Shards(shards.out, manifest).row("train", 0)
