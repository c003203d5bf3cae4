"""Before prep says "up to date" it looks at every file, and reads those whose size or time is another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.output import damage
from pipeline.output.damage import visible_damage, write_stamps
from pipeline.output.manifest import CACHE, STAMPS
from stages.core.manifest_document import dump, parse_manifest
from tests.support.training import NO_DIGEST, empty_manifest, write_manifest

NAMES = ("README.md", "train/state.json")


def listed(out: Path, name: str) -> dict[str, object]:
    from pipeline.output.verify import file_sha256

    return {"file": name, "bytes": (out / name).stat().st_size, "sha256": file_sha256(out / name)}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for folder in (CACHE, "train"):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        (tmp_path / name).write_text(name)
    split = {"rows": 0, "examples": 0, "tokens": 0, "trained_tokens": 0, "fill_rate": None, "shards": []}
    files = [listed(tmp_path, name) for name in NAMES]
    write_stamps(tmp_path, NAMES)
    write_manifest(tmp_path, empty_manifest("lm") | {"splits": {"train": split}, "files": files})
    return tmp_path


def seen(out: Path) -> str:
    data = (out / "manifest.json").read_bytes()
    return visible_damage(out, parse_manifest(data, "m"), data)


def test_a_whole_output_is_not_read(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "file_sha256", lambda path: pytest.fail(f"{path} was read"))
    assert seen(out) == ""


@pytest.mark.parametrize("when", [0, -(10**9) * 86400, 10**9 * 86400])
@pytest.mark.parametrize("cache", [True, False])
def test_other_bytes_are_seen_whatever_time_they_were_given(out: Path, when: int, cache: bool) -> None:
    path = out / NAMES[1]
    before = path.stat()
    if not cache:
        (out / CACHE / STAMPS).unlink()
    path.write_text(NAMES[1].upper())
    if when:
        os.utime(path, ns=(before.st_mtime_ns + when, before.st_mtime_ns + when))
    assert seen(out) == f"{NAMES[1]} is damaged"


def test_the_same_bytes_with_another_time_are_whole(out: Path) -> None:
    for name in NAMES:
        (out / name).write_text(name)
    assert seen(out) == ""


def test_missing_replaced_and_added_files_are_seen(out: Path) -> None:
    path = out / NAMES[0]
    path.rename(out / "kept")
    assert seen(out) == f"{NAMES[0]} is missing"
    path.symlink_to(out / "kept")
    assert seen(out) == f"{NAMES[0]} is a symbolic link"
    path.unlink()
    os.mkfifo(path)
    assert seen(out) == f"{NAMES[0]} is a FIFO"
    path.unlink()
    (out / "kept").rename(path)
    (out / "train" / "more").touch()
    assert seen(out) == "train/more is not in the manifest"


def test_a_changed_manifest_is_seen(out: Path) -> None:
    data = (out / "manifest.json").read_bytes()
    manifest = parse_manifest(data, "m")
    assert "has been changed" in visible_damage(out, manifest, data + b" ")
    assert "has been changed" in visible_damage(out, manifest | {"key": NO_DIGEST[1:] + "1"}, dump(manifest))


def test_a_damaged_record_of_times_is_none(out: Path) -> None:
    (out / CACHE / STAMPS).write_bytes(b"[")
    (out / NAMES[0]).write_text("X" * len(NAMES[0]))
    assert seen(out) == f"{NAMES[0]} is damaged"
