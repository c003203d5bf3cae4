"""Packing from end to end: what a user may rely on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.cli import run
from pipeline.config import load_config
from pipeline.output.ledger import SourceLedger
from pipeline.output.open import open_files, read_manifest
from pipeline.output.publish import locked, open_output
from pipeline.output.verify import HINT, problems
from pipeline.runs.pack.run import ensure_prepared
from tests.support.packed_outputs import CHATS, DEMO, ROOT, TINY, pack, rows, tree, write_records


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write_records(tmp_path / "chats.jsonl", CHATS)


def test_ledger_closes(chats: Path, tmp_path: Path) -> None:
    """read - rejected = examples + dropped, tokens in - lost = tokens out, and the shards hold exactly that many."""
    chats.write_bytes(chats.read_bytes() + b'{"conversations": []}\n{"broken\n')
    manifest = pack(chats, tmp_path / "out", "packing=true", "cutoff_len=64").manifest
    ledger = manifest["ledger"]
    assert ledger["read"] == 402
    assert sum(ledger["rejected"].values()) == 2
    assert ledger["read"] - 2 - ledger["not_sampled"] + ledger["repeated"] == ledger["examples"] + sum(
        ledger["dropped"].values()
    )
    assert ledger["tokens_in"] - sum(ledger["tokens_lost"].values()) == ledger["tokens"]
    assert ledger["trained_tokens_in"] - sum(ledger["trained_tokens_lost"].values()) == ledger["trained_tokens"]
    assert ledger["tokens_lost"]["cutoff"] > 0
    written = rows(tmp_path / "out")
    assert sum(len(row["input_ids"]) for row in written) == ledger["tokens"]
    assert sum(label != -100 for row in written for label in row["labels"]) == ledger["trained_tokens"]
    assert sum(len(row["seq_lengths"]) for row in written) == ledger["examples"]
    assert all(sum(row["seq_lengths"]) == len(row["input_ids"]) <= 64 for row in written)


def test_an_open_ledger_is_seen() -> None:
    """The closing check can fail: one record or one token too few is named."""
    ledger = SourceLedger(read=3, examples=2, tokens_in=10, tokens=9)
    assert len(ledger.problems()) == 2


def test_same_bytes_for_any_worker_count(chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker or three, small chunks, another hash seed: the same bytes in every published file."""
    from pipeline import plan
    from pipeline.engine import open as engines
    from stages.core.records import Limits

    small = Limits(chunk_bytes=8 << 10)
    monkeypatch.setattr(engines, "SMALL_INPUT_BYTES", 0)
    monkeypatch.setattr(plan, "Limits", lambda: small)
    first = tree(pack(chats, tmp_path / "one", "packing=true", "workers=1", "val_size=0.1").out)
    assert tree(pack(chats, tmp_path / "three", "packing=true", "workers=3", "val_size=0.1").out) == first


def test_same_bytes_from_anywhere(tmp_path: Path) -> None:
    """Another hash seed, time zone and working directory change nothing."""
    digests = []
    for seed, zone, folder in (("0", "UTC", ROOT), ("7", "Pacific/Kiritimati", tmp_path)):
        out = tmp_path / f"out{seed}"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone}
        command = [sys.executable, "-m", "pipeline", "pack", str(DEMO / "sft.yaml"), "-o", str(out), "--quiet"]
        subprocess.run(command, check=True, cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)})
        found = tree(out)
        found.pop("manifest.json")  # names the inputs as the user's working directory sees them
        found.pop("report.json")
        digests.append(found)
    assert digests[0] == digests[1]


def test_nothing_changed_is_up_to_date(chats: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert pack(chats, out).state == "written"
    before = tree(out)
    assert pack(chats, out).state == "up to date"
    assert tree(out) == before


def test_what_verify_finds_is_fixed_as_its_hint_says(chats: Path, tmp_path: Path) -> None:
    """A byte that was changed is seen by the next run; one that rotted in place, once its file is deleted."""
    out = tmp_path / "out"
    pack(chats, out)
    before = tree(out)
    shard = sorted(out.rglob("*.arrow"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert problems(open_files(out))
    again = pack(chats, out)
    assert (again.state, again.reasons) == ("written", [f"rebuilding: {shard.relative_to(out)} is damaged"])
    assert tree(out) == before and not problems(open_files(out))

    kept = shard.stat()
    shard.write_bytes(content)
    os.utime(shard, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert problems(open_files(out)) and "delete what is damaged" in HINT
    shard.unlink()
    pack(chats, out)
    assert tree(out) == before and not problems(open_files(out))


def test_a_copy_of_an_output_is_up_to_date(chats: Path, tmp_path: Path) -> None:
    """Its files are younger than they were, but hold the same."""
    pack(chats, tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=shutil.copyfile)
    assert pack(chats, tmp_path / "copy").state == "up to date"


def test_what_changed_decides_what_is_done_again(chats: Path, tmp_path: Path) -> None:
    """Packing or another cutoff reuses every tokenized chunk; another template reuses none; the reason is said."""
    out = tmp_path / "out"
    pack(chats, out)
    packed = pack(chats, out, "packing=true")
    assert packed.collected is not None
    assert packed.collected.reused == len(packed.collected.chunks)
    shorter = pack(chats, out, "packing=true", "cutoff_len=100")
    assert shorter.collected is not None
    assert shorter.collected.reused == len(shorter.collected.chunks)
    assert "cutoff_len" in shorter.reasons[0]
    other = pack(chats, out, "packing=true", "cutoff_len=100", "template=default")
    assert other.collected is not None
    assert other.collected.reused == 0
    assert "template" in other.reasons[0]


def test_cached_chunks_give_the_same_bytes(chats: Path, tmp_path: Path) -> None:
    """An output from reused chunks equals one made afresh."""
    pack(chats, tmp_path / "a")
    pack(chats, tmp_path / "a", "packing=true", "cutoff_len=100")
    pack(chats, tmp_path / "b", "packing=true", "cutoff_len=100")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_one_changed_file_of_eight_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for n in range(8):
        text = "".join(json.dumps(record) + "\n" for record in CHATS[n * 50 : n * 50 + 50])
        (folder / f"part{n}.jsonl").write_text(text)
    out = tmp_path / "out"
    pack(folder, out)
    changed = folder / "part3.jsonl"
    changed.write_text(changed.read_text().replace("Answer 170.", "answer 170.", 1))
    again = pack(folder, out)
    assert again.collected is not None
    assert again.collected.reused == 7


def test_a_missing_an_extra_and_a_cut_shard_are_found(chats: Path, tmp_path: Path) -> None:
    out = pack(chats, tmp_path / "out", "shard_size=20000").out
    shards = [shard["file"] for shard in read_manifest(out)["splits"]["train"]["shards"]]
    assert len(shards) > 2
    (out / shards[0]).unlink()
    with (out / shards[1]).open("r+b") as handle:
        handle.truncate(1000)
    shutil.copy(out / shards[2], out / "train" / "data-99999-of-99999.arrow")
    wrong = " ".join(problems(open_files(out)))
    assert shards[0] in wrong
    assert shards[1] in wrong
    assert "data-99999" in wrong


def test_a_changed_manifest_is_found(chats: Path, tmp_path: Path) -> None:
    out = pack(chats, tmp_path / "out").out
    path = out / "manifest.json"
    path.write_text(path.read_text().replace('"cutoff_len": 256', '"cutoff_len": 512', 1))
    assert problems(open_files(out))


def test_lineage_leads_back(chats: Path, tmp_path: Path) -> None:
    """Every example of a shard names its source line, its place in the row, its lengths before and after the cut."""
    out = pack(chats, tmp_path / "out", "packing=true", "cutoff_len=64").out
    manifest = read_manifest(out)
    seen = []
    for shard in manifest["splits"]["train"]["shards"]:
        with pa.memory_map(str(out / shard["lineage"]["file"])) as source:
            table = pa.ipc.open_file(source).read_all().to_pylist()
        seen += [entry["line"] for entry in table]
        for entry in table:
            after = entry["after"] if entry["after"] is not None else entry["before"]
            assert sum(after) == entry["tokens"] <= sum(entry["before"])
            assert manifest["inputs"][entry["source"]]["path"] == str(chats)
    assert sorted(seen) == list(range(1, 401))


def test_a_second_run_waits_its_turn(chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While a run holds the output, another one ends with exit 75 and changes nothing."""
    out = tmp_path / "out"
    open_output(out)
    with locked(out):
        words = [f"dataset={chats}", f"model_name_or_path={TINY}", "template=default"]
        assert run(["pack", *words, "-o", str(out)]) == 75
    assert "another run" in capsys.readouterr().err
    assert not (out / "manifest.json").exists()


def test_the_input_is_never_touched(chats: Path, tmp_path: Path) -> None:
    before = (chats.read_bytes(), chats.stat().st_mtime_ns)
    pack(chats, tmp_path / "out")
    assert (chats.read_bytes(), chats.stat().st_mtime_ns) == before


def test_a_split_conversation_is_whole_in_its_pieces(tmp_path: Path) -> None:
    """overlong: split cuts between turns; every piece begins with the system prompt, and no answer loses a token."""
    turns = [{"from": who, "value": f"{who} {n} " * 12} for n in range(6) for who in ("human", "gpt")]
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"conversations": turns, "system": "Be brief."}) + "\n")
    whole = pack(path, tmp_path / "whole", "cutoff_len=4096", "template=llama3")
    split = pack(path, tmp_path / "split", "cutoff_len=300", "overlong=split", "template=llama3")
    pieces, (one,) = rows(split.out), rows(whole.out)
    assert 1 < len(pieces) == split.manifest["ledger"]["examples"]
    assert all(len(row["input_ids"]) <= 300 for row in pieces)
    trained = [label for row in pieces for label in row["labels"] if label != -100]
    assert trained == [label for label in one["labels"] if label != -100]
    opening = one["input_ids"][:12]
    assert all(row["input_ids"][:12] == opening for row in pieces)
    assert sum(split.manifest["ledger"]["trained_tokens_lost"].values()) == 0


def test_a_folder_as_the_hub_lays_it_out_trains_on_its_train_split(chats: Path, tmp_path: Path) -> None:
    """Test files beside the train files are not trained on, and a data set of their own reads them."""
    folder = tmp_path / "set"
    folder.mkdir()
    lines = chats.read_bytes().splitlines(keepends=True)
    (folder / "train-00000-of-00001.jsonl").write_bytes(b"".join(lines[:300]))
    (folder / "test-00000-of-00001.jsonl").write_bytes(b"".join(lines[300:]))
    whole = pack(folder, tmp_path / "out")
    assert whole.manifest["ledger"]["read"] == 300
    info = {
        name: {"file_name": "set", "formatting": "sharegpt", "split": split}
        for name, split in {"held": "test", "part": "test[:10]", "both": "train+test", "one": "train"}.items()
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    for name, count in {"held": 100, "part": 10, "both": 400, "one": 300}.items():
        ledger = pack(name, tmp_path / f"out-{name}", f"dataset_dir={tmp_path}").manifest["ledger"]
        assert ledger["examples"] == count


def test_another_models_output_is_not_replaced_by_default(
    chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two configurations with the same data sets: the second model's shards go to a folder with its name."""
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        shutil.copytree(ROOT / "fixtures" / "tiny", tmp_path / name)
    for name in ("first", "second", "first", "second"):
        words = [f"dataset={chats}", f"model_name_or_path={name}", "template=qwen3", "cutoff_len=256", "max_samples=5"]
        assert run(["pack", *words, "workers=1", "--quiet"]) == 0
    assert sorted(path.name for path in (tmp_path / "prepared").iterdir()) == ["chats-sft", "chats-sft-second"]
    for folder, name in (("chats-sft", "first"), ("chats-sft-second", "second")):
        assert read_manifest(tmp_path / "prepared" / folder)["run"]["model_name_or_path"].endswith(name)


def test_values_that_finished_shards_no_longer_follow_are_named(chats: Path, tmp_path: Path) -> None:
    """Training from shards with a YAML written for others: what they were made with is said, and nothing when equal."""
    pack(chats, tmp_path / "out", "cutoff_len=64")
    shards = {
        "model_name_or_path": str(TINY),
        "tokenized_path": str(tmp_path / "out"),
        "output_dir": str(tmp_path / "o"),
    }

    def told(**values: object) -> list[str]:
        said: list[str] = []
        ensure_prepared(load_config(None, {**shards, **values}, for_command="train"), said.append)
        return said

    made = read_manifest(tmp_path / "out")["options"]["template"]
    assert told() == []
    assert told(template=made, cutoff_len=64) == []
    [note] = told(template="llama3", cutoff_len=128, mask_history=True)
    assert f"template {made}, cutoff_len 64, mask_history False" in note
