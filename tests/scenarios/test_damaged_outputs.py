"""A damaged or forged output: `verify` names it, `pack` never calls it up to date, and no command ends as a bug.

A small sample runs with the suite, the whole of it with `-m slow`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run
from pipeline.config import load_config
from pipeline.output.manifest import CACHE
from pipeline.output.open import open_files
from pipeline.output.verify import problems
from pipeline.plan import make_plan
from pipeline.runs.pack.cache_key import digest_inputs, reasons_to_build, run_key
from registry.errors import DataFault, Fault, UsageFault
from stages.core.manifest_document import dump, self_digest
from stages.train import data as trainer

ROOT = Path(__file__).parents[2]
KINDS = ("added", "longer", "shorter", "emptied", "gone", "FIFO", "device", "link", "folder")
BROKEN = '{"instruction": "x", "output": ""}\n'


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with every kind of file: two splits, rejects, examples left out."""
    folder = tmp_path_factory.mktemp("damaged")
    chats = folder / "chats.jsonl"
    lines = [json.dumps({"instruction": f"Say {n}.", "output": f"{n} " * (n % 9 * 20 + 1)}) for n in range(40)]
    chats.write_text("\n".join(lines) + "\n" + BROKEN)
    assert run(["pack", *words(folder), "--quiet"]) == 0
    names = {path.parent.name for path in (folder / "out").rglob("*") if path.is_file()}
    assert names >= {"out", "train", "validation", "lineage", "rejects"}
    assert (folder / "out" / "lineage" / "left-out.arrow").is_file()
    return folder


def words(folder: Path) -> list[str]:
    return [
        f"dataset={folder / 'chats.jsonl'}", f"model_name_or_path={ROOT / 'fixtures' / 'tiny'}", "template=qwen3",
        "cutoff_len=96", "overlong=drop", "packing=true", "val_size=5", "max_rejected=1", "-o", str(folder / "out"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def identity(packed: Path) -> tuple[str, dict[str, Any]]:
    plan = make_plan(load_config(None, words(packed)[:-2], for_command="pack"), needs_tokens=True)
    return run_key(plan, digest_inputs(plan))


def copied(packed: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(packed / "out", to)  # with the times of its files
    return to


def files_of(out: Path) -> list[Path]:
    return sorted(path for path in out.rglob("*") if path.is_file() and path.relative_to(out).parts[0] != CACHE)


def of_run(text: bytes) -> range:
    """Where the values of the block `run` stand in a manifest."""
    first = text.index(b'\n "run": {')
    return range(first, text.index(b"\n }", first))


def seen(out: Path) -> bool:
    """Whether `prep verify` finds anything wrong."""
    try:
        return bool(problems(open_files(out)))
    except (DataFault, UsageFault):
        return True


# --- flipped bits -----------------------------------------------------------------------------------------------------


def flip(out: Path, draw: random.Random) -> str | None:
    """Flips one bit anywhere but in the values of `run`; returns where."""
    path = draw.choice(files_of(out))
    data = bytearray(path.read_bytes())
    if not data:
        return None
    at = draw.randrange(len(data))
    if path.name == "manifest.json" and at in of_run(bytes(data)):
        return None
    data[at] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    return f"{path.relative_to(out)} byte {at}"


# --- damaged files ----------------------------------------------------------------------------------------------------


def damage(out: Path, draw: random.Random) -> str:
    """Does something to one file, or adds one; returns what."""
    path = draw.choice(files_of(out))
    kind = draw.choice(KINDS)
    data = path.read_bytes()
    if kind == "added":
        path = path.with_name(f"{path.name}.more")
        path = path if path.parent != out else out / "train" / path.name
        path.write_bytes(data)
    elif kind == "longer" or (kind in ("shorter", "emptied") and not data):
        path.write_bytes(data + b"\n")
    elif kind == "shorter":
        path.write_bytes(data[: draw.randrange(len(data))])
    elif kind == "emptied":
        path.write_bytes(b"")
    else:
        path.unlink()
        if kind == "FIFO":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "link":
            kept = out.parent / "kept"
            kept.write_bytes(data)
            path.symlink_to(kept)
        elif kind == "folder":
            path.mkdir()
    return f"{path.relative_to(out)} {kind}"


def check_damages(packed: Path, out: Path, identity: Any, flips: int, damages: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    unseen = []
    for number in range(flips + damages):
        copied(packed, out)
        draw = random.Random(number)
        what = flip(out, draw) if number < flips else damage(out, draw)
        if what is None:
            counts["in run"] += 1
            continue
        counts["flips" if number < flips else "damages"] += 1
        if not seen(out):
            unseen.append(f"verify: {what}")
        if not reasons_to_build(out, *identity):
            unseen.append(f"pack: {what}")
    assert not unseen
    return counts


def test_a_whole_copy_has_nothing_to_see(packed: Path, identity: Any, tmp_path: Path) -> None:
    """The loops below can fail."""
    out = copied(packed, tmp_path / "out")
    assert not seen(out)
    assert reasons_to_build(out, *identity) == []


def test_flipped_bits_and_damaged_files_are_seen(packed: Path, identity: Any, tmp_path: Path) -> None:
    check_damages(packed, tmp_path / "out", identity, 40, 27)


@pytest.mark.slow
def test_a_thousand_flipped_bits_and_three_hundred_damaged_files_are_seen(
    packed: Path, identity: Any, tmp_path: Path
) -> None:
    counts = check_damages(packed, tmp_path / "out", identity, 1100, 300)
    print(dict(counts))
    assert counts["flips"] >= 1000 and counts["damages"] == 300


@pytest.mark.parametrize("name", ["train/state.json", "dataset_dict.json", "manifest.json", "README.md"])
@pytest.mark.parametrize("kind", ["gone", "FIFO"])
def test_packing_again_mends_what_verify_names(name: str, kind: str, packed: Path) -> None:
    out = packed / "out"
    (out / name).unlink()
    if kind == "FIFO":
        os.mkfifo(out / name)
    assert run(["verify", str(out)]) != 0
    assert run(["pack", *words(packed), "--quiet"]) == 0
    assert run(["verify", str(out), "--quiet"]) == 0


def test_an_output_made_before_these_files_were_listed_is_read_named_and_made_anew(
    packed: Path, tmp_path: Path, identity: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(packed, tmp_path / "out")
    manifest = json.loads((out / "manifest.json").read_bytes())
    manifest["files"] = [entry for entry in manifest["files"] if "dataset_" not in entry["file"]]
    (out / "manifest.json").write_bytes(dump(manifest | {"sha256": self_digest(manifest)}))
    assert run(["stats", str(out)]) == 0
    assert run(["verify", str(out)]) == 1
    assert "dataset_dict.json: is not in the manifest" in capsys.readouterr().err
    assert reasons_to_build(out, *identity) == ["rebuilding: dataset_dict.json is not in the manifest"]


# --- mutated manifests ------------------------------------------------------------------------------------------------

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 10**9, 10**30, 1.5, 3.0, "", "x", "../../etc/passwd", "\x00", "\u2028", [], ["x"],
    [None], {}, {"x": 1}, {"a": {"b": []}},
)  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def mutate(manifest: dict[str, Any], draw: random.Random) -> str:
    """Removes, replaces, renames or repeats one value; returns where."""
    path = draw.choice(places(manifest)[1:])
    node: Any = manifest
    for key in path[:-1]:
        node = node[key]
    what = draw.choice(("remove", "replace", "replace", "replace", "rename", "repeat"))
    if what == "remove":
        del node[path[-1]]
    elif what == "rename" and isinstance(node, dict):
        node[f"{path[-1]}x"] = node.pop(path[-1])
    elif what == "repeat" and isinstance(node, list):
        node.append(node[path[-1]])
    else:
        node[path[-1]] = draw.choice(VALUES)
    return f"{what} {'/'.join(map(str, path))}"


def commands(out: Path, page: Path) -> list[list[str]]:
    return [
        ["verify", str(out)], ["why", str(out)], ["stats", str(out), "--cutoff", "64"], ["inspect", str(out)],
        ["inspect", str(out), "--worst", "truncated"], ["report", str(out), "-o", str(page)],
        ["trace", str(out), "--row", "0", "--token", "3"], ["trace", str(out), "--source", "chats.jsonl:41"],
    ]  # fmt: skip


def as_the_trainer_reads(out: Path) -> None:
    """What `prep train` and `prep predict` do with an output before a model is loaded."""
    prepared = trainer.read_manifest(out)
    trainer.verify(prepared, prepared.splits)
    for split in prepared.splits:
        trainer.lengths(prepared, split)


def check_manifests(packed: Path, out: Path, identity: Any, count: int) -> Counter[int]:
    copied(packed, out)
    text = (out / "manifest.json").read_bytes()
    codes: Counter[int] = Counter()
    wrong = []
    for number in range(count):
        draw = random.Random(number)
        manifest = json.loads(text)
        what = mutate(manifest, draw)
        if number % 4:  # forged: it fits itself
            manifest["sha256"] = self_digest(manifest)
        (out / "manifest.json").write_bytes(dump(manifest))
        for command in commands(out, out.parent / "page.html"):
            code = run(command)
            codes[code] += 1
            if code not in (0, 1, 2):
                wrong.append(f"{number}: {what}: {' '.join(command)}: {code}")
        try:
            as_the_trainer_reads(out)
            reasons_to_build(out, *identity)
        except Fault:
            codes[-1] += 1
    assert not wrong
    return codes


def test_mutated_manifests_end_in_an_error_of_ours(packed: Path, identity: Any, tmp_path: Path) -> None:
    check_manifests(packed, tmp_path / "out", identity, 25)


@pytest.mark.slow
def test_four_hundred_mutated_manifests_end_in_an_error_of_ours(packed: Path, identity: Any, tmp_path: Path) -> None:
    codes = check_manifests(packed, tmp_path / "out", identity, 400)
    print(dict(codes))


def test_a_pack_over_a_forged_manifest_makes_it_anew(packed: Path, tmp_path: Path) -> None:
    out = packed / "out"
    manifest = json.loads((out / "manifest.json").read_bytes())
    manifest["splits"]["train"] = "all"
    (out / "manifest.json").write_bytes(dump(manifest | {"sha256": self_digest(manifest)}))
    assert run(["pack", *words(packed), "--quiet"]) == 0
    assert run(["verify", str(out), "--quiet"]) == 0


@pytest.mark.parametrize("command", ["inspect", "stats", "report", "verify", "why"])
def test_a_wrong_key_is_named_by_every_command(
    command: str, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(packed, tmp_path / "out")
    manifest = json.loads((out / "manifest.json").read_bytes())
    manifest["splits"]["train"]["shards"][0]["rows"] = "many"
    (out / "manifest.json").write_bytes(dump(manifest))
    assert run([command, str(out)]) == 1
    assert "manifest.json: not a manifest of prep (/splits/train/shards/0/rows:" in capsys.readouterr().err


def test_a_flipped_shard_header_is_an_error_about_the_file(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not "the system: Success"."""
    out = copied(packed, tmp_path / "out")
    shard = next(path for path in files_of(out) if path.parent.name == "train" and path.suffix == ".arrow")
    data = bytearray(shard.read_bytes())
    for at in range(12, 40):
        data[at] ^= 0xFF
    shard.write_bytes(data)
    for command in (["verify", str(out)], ["inspect", str(out)]):
        assert run(command) == 1
        said = capsys.readouterr().err
        assert shard.name in said and "Success" not in said
