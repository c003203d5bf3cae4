"""The machine's limits end a run with 3 and one line that names them, or change nothing but the time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.engine import open as engines
from pipeline.engine import process_pool as workers
from pipeline.engine.limits import limit_fault

_MANY = 20_000


@pytest.fixture
def many(tmp_path: Path, tiny: str) -> list[str]:
    rows = (f'{{"instruction": "say {number} in words, please", "output": "so"}}\n' for number in range(_MANY))
    (tmp_path / "a.jsonl").write_text("".join(rows))
    return ["pack", "dataset=a.jsonl", f"model_name_or_path={tiny}", "template=default", "-o", "out", "--workers", "2"]


@pytest.mark.parametrize("mebibytes", [100, 150, 200, 300, 400, 500, 700, 1000])
@pytest.mark.parametrize("command", ["pack", "validate"])
def test_too_small_an_address_space_is_named(mebibytes: int, command: str, many: list[str], tmp_path: Path) -> None:
    words = many if command == "pack" else ["validate", "a.jsonl"]
    limited = f'ulimit -v {mebibytes << 10}; exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", limited, "sh", sys.executable, "-m", "pipeline", *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode == 0 and command == "validate" and mebibytes >= 450:
        return
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("prep: ") == 1
    assert "ulimit -v" in done.stderr


@pytest.mark.parametrize("number", [8, 10, 12, 16])
def test_few_open_files_are_named(number: int, many: list[str], tmp_path: Path) -> None:
    command = f'ulimit -n {number}; exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", command, "sh", sys.executable, "-m", "pipeline", *many],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or (done.returncode == 3 and "ulimit -n" in done.stderr), done.stderr


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_with_no_process_to_spare_the_work_is_done_here(
    allowed: int, many: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = [allowed]
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "SMALL_INPUT_BYTES", 1)
    monkeypatch.setattr(threading.Thread, "start", limited)
    assert run([*many, "--quiet"]) == 0
    assert "no further process or thread" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run([*[word if word != "out" else "again" for word in many], "--quiet"]) == 0
    for shard in sorted((tmp_path / "out").rglob("*.arrow")):
        assert shard.read_bytes() == (tmp_path / "again" / shard.relative_to(tmp_path / "out")).read_bytes()


def test_a_process_that_cannot_be_forked(monkeypatch: pytest.MonkeyPatch, many: list[str], tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "SMALL_INPUT_BYTES", 1)
    monkeypatch.setattr(workers, "_Worker", refuse)
    assert run([*many, "--quiet"]) == 0


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (ImportError("x.so: failed to map segment from shared object"), "ulimit -v"),
        (ImportError("libgomp.so.1: cannot open shared object file: Permission denied"), "cannot be loaded"),
        (workers.WorkerBug("Traceback\nRuntimeError: can't start new thread"), "ulimit -u"),
        (workers.WorkerBug("Traceback\nImportError: x.so: failed to map segment from shared object"), "ulimit -v"),
    ],
)
def test_each_limit_has_its_line(error: Exception, named: str) -> None:
    fault = limit_fault(error)
    assert fault is not None
    assert named in f"{fault.problems} {fault.hint}"


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("memory"), OSError(errno.ENOENT, "no"), ImportError("no")])
def test_nothing_else_is_taken_for_one(error: Exception) -> None:
    assert limit_fault(error) is None
