"""`prep verify`: a byte that changed is found and its file is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.output.manifest import listed_files
from pipeline.output.open import read_manifest
from tests.support.packed_outputs import demo_output


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A packed demo of one's own."""
    return Path(shutil.copytree(demo_output("cutoff_len=100"), tmp_path / "out"))


@pytest.mark.parametrize("kind", ["train", "lineage", "report.json"])
def test_one_flipped_byte_is_found(out: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Verify names the file in which a byte was flipped, and exits 1."""
    name = next(name for name in listed_files(read_manifest(out)) if name.startswith(kind))
    data = bytearray((out / name).read_bytes())
    data[len(data) // 2] ^= 1
    (out / name).write_bytes(data)
    assert run(["verify", str(out)]) == 1
    assert name in capsys.readouterr().err


def test_a_whole_output_is_exit_0_and_the_count_is_told(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = len(listed_files(read_manifest(out)))
    assert run(["verify", str(out)]) == 0
    assert f"all {count} files" in capsys.readouterr().out
    assert run(["verify", str(out), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_result_as_json(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is that of the text."""
    assert run(["verify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    (out / "report.json").unlink()
    assert run(["verify", str(out), "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert "report.json" in problem


def test_what_is_no_output_is_the_users_mistake(tmp_path: Path) -> None:
    assert run(["verify", str(tmp_path)]) == 2
