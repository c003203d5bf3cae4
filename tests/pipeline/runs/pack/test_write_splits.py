"""Shards: where they begin is a function of the rows, and `datasets` loads what is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import plan
from pipeline.output.ledger import SourceLedger
from pipeline.output.open import read_manifest
from pipeline.runs.pack.build import Outcome
from pipeline.runs.pack.order import Arranged
from pipeline.runs.pack.write_splits import check_split
from registry.errors import UsageFault
from stages.core.records import Limits
from stages.tokenize.token_cache import TokenCache
from stages.writers import shard as write
from tests.support.example_tables import collected_of, plan_of, table_of
from tests.support.packed_outputs import CHATS, pack, rows, tree, write_records


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_records(tmp_path / "chats.jsonl", CHATS)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return write_records(tmp_path / "few.jsonl", CHATS[:40])


@pytest.mark.parametrize("stage", ["sft", "pt"])
def test_more_chunks_than_files_that_may_be_open(
    chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Rows take their parts from all over a large set: the bytes are the same, and never more files are open."""
    monkeypatch.setattr(plan, "Limits", lambda: Limits(chunk_bytes=4 << 10))
    whole = pack(chats, tmp_path / "whole", "packing=true", f"stage={stage}")
    assert len(whole.collected.chunks if whole.collected else ()) > 20
    monkeypatch.setattr(write, "OPEN_CACHES", 3)
    most = 0

    def counted(self: TokenCache, name: str, start: int, out: Any, real: Any = TokenCache.read_into) -> None:
        nonlocal most
        real(self, name, start, out)
        held = [os.readlink(fd.path) for fd in os.scandir("/proc/self/fd") if os.path.islink(fd.path)]
        most = max(most, sum(path.endswith(".cache") for path in held))

    monkeypatch.setattr(TokenCache, "read_into", counted)
    pack(chats, tmp_path / "few", "packing=true", f"stage={stage}")
    assert tree(tmp_path / "few") == tree(tmp_path / "whole")
    assert 0 < most <= 4


def test_datasets_loads_it(chats: Path, tmp_path: Path) -> None:
    """`datasets.load_from_disk(OUT)` gives the rows of every split."""
    datasets = pytest.importorskip("datasets")
    out = pack(chats, tmp_path / "out", "packing=true", "val_size=0.1").out
    loaded = datasets.load_from_disk(str(out))
    manifest = read_manifest(out)
    assert {name: len(split) for name, split in loaded.items()} == {
        name: split["rows"] for name, split in manifest["splits"].items()
    }
    assert loaded["train"][0]["input_ids"] == rows(out)[0]["input_ids"]


def borders(made: Outcome) -> list[int]:
    return [shard["rows"] for shard in made.manifest["splits"]["train"]["shards"]]


def test_smaller_shards_hold_the_same_rows_in_order(few: Path, tmp_path: Path) -> None:
    """shard_size cuts the rows into more files, none of them empty, also where one row alone is larger."""
    one = pack(few, tmp_path / "one")
    many = pack(few, tmp_path / "many", "shard_size=1024")
    assert len(borders(one)) == 1 < len(borders(many))
    assert min(borders(many)) > 0
    assert rows(one.out) == rows(many.out)
    names = [shard["file"] for shard in many.manifest["splits"]["train"]["shards"]]
    assert names == [f"train/data-{n:05d}-of-{len(names):05d}.arrow" for n in range(len(names))]


def test_a_size_that_is_too_small_is_refused(few: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="at least 1024"):
        pack(few, tmp_path / "out", "shard_size=1")


@pytest.mark.parametrize(("twins", "leaks"), [(False, 0), (True, 1)])
def test_a_conversation_on_both_sides_of_a_split_is_a_finding(twins: bool, leaks: int, tmp_path: Path) -> None:
    """At the place of its copy in the validation split."""
    made = plan_of(tmp_path, [4], "val_size=0.25", "do_eval=true")
    collected = collected_of(made, [4])
    table = table_of([5] * 4, hash=[1, 2, 3, 1 if twins else 4])
    splits = {"train": np.array([0, 1, 2]), "validation": np.array([3])}
    check_split(made, collected, table, Arranged(splits, [SourceLedger()], splits))
    found = [one for one in collected.found.findings if one.rule == "set.split-leak"]
    assert [(one.line, one.record) for one in found] == [(4, 3)] * leaks


def test_a_split_that_nothing_uses_is_a_finding(tmp_path: Path) -> None:
    """Rows held out, and never evaluated: unless the user evaluates, or nothing is split off."""
    splits = {"train": np.array([0, 1, 2]), "validation": np.array([3])}
    for words, count in ((["val_size=0.25"], 1), (["val_size=0.25", "eval_strategy=epoch"], 0), ([], 0)):
        made = plan_of(tmp_path, [4], *words)
        collected = collected_of(made, [4])
        check_split(made, collected, table_of([5] * 4), Arranged(splits, [SourceLedger()], splits))
        assert [one.rule for one in collected.found.findings] == ["set.unused-split"] * count


def test_every_shard_is_in_the_manifest(few: Path, tmp_path: Path) -> None:
    out = pack(few, tmp_path / "out", "shard_size=4000").out
    listed = [shard["file"] for shard in read_manifest(out)["splits"]["train"]["shards"]]
    assert sorted(listed) == sorted(path.relative_to(out).as_posix() for path in out.glob("train/*.arrow"))
