"""The lengths of every example before any cut, read back from the lineage of an output alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.inspect.history import History, load_history, sources_of
from pipeline.inspect.open_target import open_shards
from registry.errors import DataFault
from tests.support.packed_outputs import demo_output, pack, write_records


def history_of(out: Path) -> History:
    return load_history(open_shards(str(out)))


def chat(number: int, words: int) -> dict[str, object]:
    answer = {"from": "gpt", "value": "so " * words}
    return {"conversations": [{"from": "human", "value": f"Why {number}?"}, answer]}


def test_the_lengths_are_those_of_an_output_without_a_limit() -> None:
    """However tight an output was cut, its history is that of one that was not cut."""
    tight, wide = (history_of(demo_output(f"cutoff_len={cutoff}", "packing=false")) for cutoff in (90, 100_000))
    assert tight.names == wide.names and not tight.packed
    assert tight.read == wide.read
    for name in ("segments", "trained", "counts", "source"):
        np.testing.assert_array_equal(getattr(tight, name), getattr(wide, name))
    np.testing.assert_array_equal(tight.orders["train"], wide.orders["train"])


def test_what_the_limit_took_out_stands_in_its_old_place(tmp_path: Path) -> None:
    """With examples dropped and the rest shuffled, the order is that of the records."""
    data = write_records(tmp_path / "a.jsonl", [chat(n, 200 if n % 3 == 1 else 2) for n in range(9)])
    out = pack(data, tmp_path / "out", "cutoff_len=64", "overlong=drop", "shuffle=true").out
    history = history_of(out)
    assert history.manifest["ledger"]["dropped"]
    assert history.orders["train"].tolist() == list(range(9))
    answers = history.segments[1::2]
    assert (answers > 64).tolist() == [n % 3 == 1 for n in range(9)]


def test_a_record_that_was_used_twice_is_one_example(tmp_path: Path) -> None:
    data = write_records(tmp_path / "a.jsonl", [chat(n, 2) for n in range(4)])
    info = '{"more": {"file_name": "a.jsonl", "formatting": "sharegpt", "num_samples": 6}}'
    (data.parent / "dataset_info.json").write_text(info)
    history = history_of(pack("more", tmp_path / "out", f"dataset_dir={tmp_path}").out)
    assert len(history.counts) == 4
    assert sorted(set(history.orders["train"].tolist())) == [0, 1, 2, 3]
    assert len(history.orders["train"]) == 6


def test_a_document_in_several_blocks_is_one_example(tmp_path: Path) -> None:
    data = write_records(tmp_path / "a.jsonl", [{"text": "tide " * 100}, {"text": "ebb"}])
    out = pack(data, tmp_path / "out", "stage=pt", "packing=true", "cutoff_len=32").out
    history = history_of(out)
    assert history.counts.tolist() == [1, 1]
    assert int(history.segments.sum()) == history.manifest["ledger"]["tokens"]
    assert history.segments[0] > 32


def test_files_lead_to_their_sources() -> None:
    names, source = sources_of({"inputs": [{"source": name} for name in ("b", "b", "a")]})
    assert (names, source.tolist()) == (["b", "a"], [0, 0, 1])


def test_a_missing_lineage_is_the_datas_fault(tmp_path: Path) -> None:
    shutil.copytree(demo_output("cutoff_len=90", "packing=false"), tmp_path / "out")
    next((tmp_path / "out" / "lineage").glob("train-*")).unlink()
    with pytest.raises(DataFault, match="lineage/train-"):
        history_of(tmp_path / "out")
