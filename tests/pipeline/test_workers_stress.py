"""A run whose processes are killed, stopped and interrupted: the same bytes or a clear end, no hang, nothing left."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.manifest import dump, read_manifest
from pipeline.prepare import prepare
from pipeline.verify import problems
from registry.errors import Fault, MachineFault
from stages import files
from stages.files import TEMPORARY

ROOT = Path(__file__).parents[2]
TINY = ROOT / "fixtures" / "tiny"


CHATS = [
    {"conversations": [{"from": "human", "value": f"Why {n}? " * (n % 17)}, {"from": "gpt", "value": f"So {n}. " * 9}]}
    for n in range(1, 401)
    if n % 17
]


def tree(out: Path) -> dict[str, str]:
    """Relative path -> digest of every published file; the manifest without its `run` block."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith(".cache"):
            data = path.read_bytes()
            if name == "manifest.json":
                data = dump({key: value for key, value in json.loads(data).items() if key != "run"})
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def start(data: Path, out: Path, workers: int = 2) -> subprocess.Popen[bytes]:
    code = (
        "import sys\n"
        "from pipeline import engines, plan\n"
        "from stages.read import Limits\n"
        "engines.SMALL_INPUT_BYTES = 0\n"
        "plan.Limits = lambda: Limits(chunk_bytes=16 << 10)\n"
        "from pipeline.cli import main\n"
        "if __name__ == '__main__':\n"
        "    main(sys.argv[1:])\n"
    )
    runner = out.parent / "runner.py"
    runner.write_text(code)
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=128", "packing=true"]
    command = [sys.executable, str(runner), "pack", *words, "-o", str(out), "--workers", str(workers), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for _ in range(6) for record in CHATS), encoding="utf-8")
    return path


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.parametrize("rounds", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_at_any_moment(many: Path, tmp_path: Path, rounds: int) -> None:
    """SIGKILL of the whole process tree, then the same command: the same bytes, nothing left behind."""
    work = tmp_path / "work"
    work.mkdir()
    first = start(many, work / "reference")
    began = time.monotonic()
    assert first.wait(120) == 0, first.stderr
    whole_s = time.monotonic() - began
    reference = tree(work / "reference")
    moments = random.Random(5)
    reused = 0
    for number in range(rounds):
        folder = tmp_path / f"round{number}"
        folder.mkdir()
        out = folder / "out"
        run = start(many, out)
        time.sleep(moments.uniform(0.3, 0.95) * whole_s)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait(10)
        again = start(many, out)
        assert again.wait(120) == 0, again.stderr.read() if again.stderr else ""
        assert tree(out) == reference
        assert not leftovers(out)
        reused += int(read_manifest(out)["run"]["chunks_reused"])
    print(f" {rounds} kills, {reused} chunks reused", end="")


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_worker(many: Path, tmp_path: Path, rounds: int) -> None:
    """A worker that dies is replaced: the same bytes, or exit 5 that names the chunk, and never a hang."""
    (tmp_path / "work").mkdir()
    first = start(many, tmp_path / "work" / "reference")
    assert first.wait(120) == 0
    reference = tree(tmp_path / "work" / "reference")
    moments = random.Random(7)
    for number in range(rounds):
        folder = tmp_path / f"round{number}"
        folder.mkdir()
        run = start(many, folder / "out")
        deadline = time.monotonic() + 20
        while not (team := children(run.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.8))
        victims = [child for child in children(run.pid) or team if "spawn_main" in _command(child)]
        if victims:
            os.kill(moments.choice(victims), signal.SIGKILL)
        code = run.wait(60)
        assert code in (0, 5)
        if code == 0:
            assert tree(folder / "out") == reference


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_clean(many: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM end within 5 s, with nothing half-written and no worker left."""
    out = tmp_path / "out"
    run = start(many, out)
    deadline = time.monotonic() + 20
    while not any("spawn_main" in _command(child) for child in children(run.pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.4)
    team = children(run.pid)
    os.kill(run.pid, number)
    began = time.monotonic()
    got = run.wait(30)
    assert time.monotonic() - began < 5
    assert got == code
    assert not (out / "manifest.json").exists()
    time.sleep(0.2)
    assert not [child for child in team if "spawn_main" in _command(child)]
    assert start(many, out).wait(120) == 0
    assert problems(out) == []
    assert not leftovers(out)
