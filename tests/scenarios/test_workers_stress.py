"""A run whose processes are killed, stopped and interrupted: the same bytes or a clear end, no hang, nothing left."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.output.manifest import BUILD, CACHE, dump
from pipeline.output.open import open_files, read_manifest
from pipeline.output.verify import problems
from stages.core.atomic_io import TEMPORARY

ROOT = Path(__file__).parents[2]
TINY = ROOT / "fixtures" / "tiny"
# a chunk takes a moment longer than it would, so that what happens to the run happens in its middle
RUNNER = """
import sys, time
from pipeline import plan
from pipeline.engine import open as engines
from pipeline.engine import process_pool as workers
from pipeline.jobs import encode as encoding
from stages.core.records import Limits
run = encoding.run
encoding.run = lambda state, task: (time.sleep(0.03), run(state, task))[1]
engines.SMALL_INPUT_BYTES = 0
plan.Limits = lambda: Limits(chunk_bytes=16 << 10)
workers.Processes.__init__.__kwdefaults__["silence_s"] = 2.0
from pipeline.cli import main
if __name__ == "__main__":
    main(sys.argv[1:])
"""


def tree(out: Path) -> dict[str, str]:
    """Relative path -> digest of every published file; the manifest without its `run` block."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith(CACHE):
            data = path.read_bytes()
            if name == "manifest.json":
                data = dump({key: value for key, value in json.loads(data).items() if key != "run"})
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def leftovers(out: Path) -> list[str]:
    found = [*out.rglob(f"*{TEMPORARY}"), *(out / CACHE).glob(f"{BUILD}*"), *out.parent.glob(f".*{TEMPORARY}")]
    return [str(path) for path in found]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "many.jsonl"
    turns = [(f"Why {n}? " * (n % 17), f"So {n}. " * 9) for n in range(1, 401) if n % 17]
    chats = [{"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]} for q, a in turns]
    path.write_text("".join(json.dumps(chat) + "\n" for _ in range(6) for chat in chats), encoding="utf-8")
    path.with_name("runner.py").write_text(RUNNER, encoding="utf-8")
    return path


class Running:
    """`prep pack` over `many` with two workers, in a process group of its own."""

    def __init__(self, many: Path, out: Path) -> None:
        words = [f"dataset={many}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=128", "packing=true"]
        runner = str(many.with_name("runner.py"))
        command = [sys.executable, runner, "pack", *words, "-o", str(out), "--workers", "2", "--quiet"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        # a shell's background job ignores Ctrl-C, and so would everything that it starts
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE)
        finally:
            signal.signal(signal.SIGINT, before)
        self.pid = self.process.pid

    def end(self, limit_s: float) -> tuple[int, str]:
        """Exit code and stderr; fails when it takes longer."""
        try:
            said = self.process.communicate(timeout=limit_s)[1].decode()
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            pytest.fail(f"no end within {limit_s} s")
        return self.process.returncode, said

    def children(self) -> list[int]:
        found: list[int] = []
        for path in Path(f"/proc/{self.pid}/task").glob("*/children"):
            try:
                found += [int(child) for child in path.read_text().split()]
            except OSError:
                pass
        return found

    def workers(self) -> list[int]:
        return [child for child in self.children() if b"multiprocessing-fork" in command_of(child)]

    def wait_for_workers(self) -> list[int]:
        wait_until(lambda: len(self.workers()) == 2 or self.process.poll() is not None, 30)
        return self.workers()


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def gone(pids: list[int], seconds: float) -> bool:
    """Whether processes end within that time (a zombie has no command line)."""
    return wait_until(lambda: not any(map(command_of, pids)), seconds)


@pytest.fixture(scope="module")
def reference(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an undisturbed run writes."""
    out = tmp_path_factory.mktemp("reference") / "out"
    assert Running(many, out).end(120)[0] == 0
    assert read_manifest(out)["run"]["chunks"] > 20
    return tree(out)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_lost_worker(
    many: Path, reference: dict[str, str], tmp_path: Path, sign: signal.Signals, rounds: int
) -> None:
    """A worker that dies or hangs is replaced: the same bytes, or soon exit 5 that names the chunk; never a hang."""
    moments = random.Random(7)
    for number in range(rounds):
        out = tmp_path / f"out{number}"
        run = Running(many, out)
        team = run.wait_for_workers()
        time.sleep(moments.uniform(0, 1.2))
        victims = run.workers() or team
        try:
            os.kill(moments.choice(victims), sign)
        except (ProcessLookupError, IndexError):
            pass  # it was quicker
        code, said = run.end(10 if sign == signal.SIGKILL else 15)
        assert code in (0, 5), said
        if code == 0:
            assert tree(out) == reference
            assert not leftovers(out)
        else:
            assert "many.jsonl, bytes" in said
        assert gone(team, 5), "a worker outlived the run"


@pytest.mark.parametrize("rounds", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_everything_killed(many: Path, reference: dict[str, str], tmp_path: Path, rounds: int) -> None:
    """SIGKILL of the process tree, then the same command: the same bytes, nothing left, finished chunks reused."""
    moments = random.Random(5)
    reused = 0
    for number in range(rounds):
        out = tmp_path / f"out{number}"
        run = Running(many, out)
        run.wait_for_workers()
        time.sleep(moments.uniform(0, 2.0))
        if run.process.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.end(10)
        published = (out / "manifest.json").exists()
        finished = len(list((out / CACHE / "chunks").glob("*.cache")))
        code, said = Running(many, out).end(60)
        assert code == 0, said
        assert tree(out) == reference
        assert not leftovers(out)
        assert published or read_manifest(out)["run"]["chunks_reused"] == finished
        reused += finished
    sys.stderr.write(f"[{rounds} kills, {reused} finished chunks found] ")


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_killed_parent_leaves_nobody(many: Path, tmp_path: Path, rounds: int) -> None:
    """When only the parent dies, its workers and helpers end by themselves and do not disturb a run started at once."""
    for number in range(rounds):
        out = tmp_path / f"out{number}"
        run = Running(many, out)
        run.wait_for_workers()
        time.sleep(0.3 + 0.1 * number)
        children = run.children()
        os.kill(run.pid, signal.SIGKILL)
        code, said = Running(many, out).end(60)
        assert code == 0, said
        assert problems(open_files(out)) == []
        assert not leftovers(out)
        assert gone(children, 10)
        run.end(1)


@pytest.mark.parametrize("whole_group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_clean(
    many: Path, reference: dict[str, str], tmp_path: Path, number: signal.Signals, code: int, whole_group: bool
) -> None:
    """Ctrl-C (which reaches the group) and SIGTERM end within 5 s, nothing half-written, nobody left, one line said."""
    out = tmp_path / "out"
    run = Running(many, out)
    run.wait_for_workers()
    time.sleep(0.5)
    children = run.children()
    began = time.monotonic()
    (os.killpg if whole_group else os.kill)(run.pid, number)
    got, said = run.end(30)
    assert time.monotonic() - began < 5
    assert got == code
    assert said.strip().count("\n") == 0, said
    assert "nothing half-written" in said
    assert not (out / "manifest.json").exists()
    assert not leftovers(out)
    assert gone(children, 3)
    assert Running(many, out).end(60)[0] == 0
    assert tree(out) == reference


@pytest.mark.parametrize("starts", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_many_starts_at_once(many: Path, reference: dict[str, str], tmp_path: Path, starts: int) -> None:
    """One run gets the output, the others end with 75 (or find it up to date, when they came late)."""
    out = tmp_path / "out"
    ends = [run.end(60) for run in [Running(many, out) for _ in range(starts)]]
    assert {code for code, _ in ends} <= {0, 75}, ends
    assert any(code == 0 for code, _ in ends)
    assert all("another run holds" in said for code, said in ends if code == 75)
    assert tree(out) == reference
    assert not leftovers(out)
