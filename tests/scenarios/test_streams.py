"""Streams that were closed before prep started, or cannot be written: the work is done, and the exit code is right."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import run

CLOSED = [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"]


def start(words: list[str], redirection: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "pipeline", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(fixtures: Path, tiny: str, tmp_path: Path) -> Path:
    shutil.copy(fixtures / "demo" / "sharegpt.jsonl", tmp_path / "chats.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"instruction": "x", "output": 5}\n')
    return tmp_path


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["validate", "chats.jsonl"], 0), (["validate", "chats.jsonl", "--json"], 0), (["validate", "bad.jsonl"], 1),
        (["validate", "missing.jsonl"], 2), (["--help"], 0),
    ],
)  # fmt: skip
def test_a_closed_stream_changes_no_exit_code(words: list[str], code: int, closed: str, folder: Path) -> None:
    done = start(words, closed, folder)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", CLOSED)
def test_no_file_of_an_output_takes_the_place_of_a_closed_stream(closed: str, folder: Path, tiny: str) -> None:
    """What is printed would land in it."""
    words = ["pack", "dataset=chats.jsonl", f"model_name_or_path={tiny}", "template=default", "-o", "out"]
    assert start([*words, "--workers", "2"], closed, folder).returncode == 0
    assert run(["verify", str(folder / "out"), "--quiet"]) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [["list", "rules"], ["validate", "chats.jsonl", "--json"]])
def test_a_full_disk_behind_stdout_is_the_machines_word(words: list[str], folder: Path) -> None:
    done = start(words, ">/dev/full", folder)
    assert (done.returncode, "the disk is full" in done.stderr, "Traceback" in done.stderr) == (3, True, False)
