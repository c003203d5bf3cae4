"""The trainer believes its manifest, and only its manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from registry.errors import DataFault, UsageFault
from stages.train.data import ROW_COLUMN, dataset, lengths, manifest_digest, read_manifest, verify
from tests.support.training import empty_manifest, write_manifest


@pytest.fixture
def out(tmp_path: Path, make: Any) -> Path:
    rows = make.packed(make.lm(20))
    return make.out(tmp_path / "out", "lm", {"train": rows, "validation": rows[:1]}, packed=True)  # type: ignore[no-any-return]


def test_good_shards_pass_and_are_counted(out: Path) -> None:
    prepared = read_manifest(out)
    assert prepared.splits == ("train", "validation")
    assert verify(prepared, prepared.splits) == sum(path.stat().st_size for path in out.glob("*/*.arrow"))


def test_one_flipped_byte_names_the_shard(out: Path) -> None:
    path = sorted(out.glob("train/*.arrow"))[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataFault, match=path.name):
        verify(read_manifest(out), ["train"])


def test_a_cut_or_missing_shard_is_named(out: Path) -> None:
    first, second = sorted(out.glob("train/*.arrow"))
    first.write_bytes(first.read_bytes()[:-8])
    second.unlink()
    with pytest.raises(DataFault) as caught:
        verify(read_manifest(out), ["train"])
    assert all(path.name in text for path, text in zip((first, second), caught.value.problems, strict=True))


def test_wrong_row_count_is_found(out: Path) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["splits"]["train"]["shards"][0]["rows"] += 1
    write_manifest(out, manifest)
    with pytest.raises(DataFault, match="rows"):
        verify(read_manifest(out), ["train"])


def test_a_folder_without_a_manifest_is_not_trained_from(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="nothing was packed"):
        read_manifest(tmp_path)


def test_a_damaged_manifest_is_a_data_fault(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"kind": "lm"')
    with pytest.raises(DataFault, match="not valid JSON"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"kind": "lm"}')
    with pytest.raises(DataFault, match="not a manifest of prep"):
        read_manifest(tmp_path)
    manifest = empty_manifest("lm") | {"splits": {"train": {}}}
    del manifest["packed"]
    write_manifest(tmp_path, manifest)
    with pytest.raises(DataFault, match="packed"):
        read_manifest(tmp_path)


def test_a_manifest_that_was_changed_is_not_trained_from(out: Path) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["cutoff_len"] += 1
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataFault, match="has been changed"):
        read_manifest(out)


def test_the_digest_ignores_only_when_it_was_made(out: Path) -> None:
    before = manifest_digest(read_manifest(out))
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["run"]["finished"] = "later"
    write_manifest(out, manifest)
    assert manifest_digest(read_manifest(out)) == before
    manifest["cutoff_len"] += 1
    write_manifest(out, manifest)
    assert manifest_digest(read_manifest(out)) != before


@pytest.mark.train
def test_rows_come_in_order_with_their_numbers_and_stray_files_are_ignored(out: Path, make: Any) -> None:
    pytest.importorskip("datasets")
    (out / "train" / "cache-123.arrow").write_bytes(b"left by a trainer")
    rows = dataset(read_manifest(out), "train")
    assert rows.column_names == ["input_ids", "labels", "seq_lengths", ROW_COLUMN]
    assert rows[ROW_COLUMN][:] == list(range(7))
    assert rows["input_ids"][:] == [row["input_ids"] for row in make.packed(make.lm(20))]


def test_lengths_need_no_rows_to_be_read(out: Path, make: Any) -> None:
    assert lengths(read_manifest(out), "train").tolist() == [len(row["input_ids"]) for row in make.packed(make.lm(20))]


@pytest.mark.train
def test_a_missing_column_is_a_data_fault(tmp_path: Path, make: Any) -> None:
    pytest.importorskip("datasets")
    out = make.out(tmp_path, "lm", {"train": make.lm(3)}, packed=True)
    with pytest.raises(DataFault, match="seq_lengths"):
        dataset(read_manifest(out), "train")
