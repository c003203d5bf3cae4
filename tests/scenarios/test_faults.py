"""Whatever call fails and wherever the process dies: nothing half-made is ever called complete, an earlier output is
never damaged, nothing is left behind, and starting again gives the same bytes without doing finished chunks again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.jobs.specs import PROVEN
from pipeline.output.manifest import CACHE
from pipeline.output.open import open_files
from pipeline.output.verify import problems
from registry.errors import Fault, MachineFault
from stages.core import atomic_io as files
from stages.tokenize import backends as tokenize
from tests.support import faults
from tests.support.faults import Faulty, Killed, leftovers, small_pack

ROOT = Path(__file__).parents[2]
OLD = "cutoff_len=48"  # the settings of an earlier output, which the run replaces
MODES = ("ENOSPC", "EIO", "full", "kill", "torn")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of runs need no real fsync."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def data(place: Path) -> Path:
    path = place / "chats.jsonl"
    turns = [(f"Question {n}? " * (n % 7 + 1), f"Answer {n}. " * (n % 9 + 1)) for n in range(60)]
    lines = [{"instruction": question, "output": answer} for question, answer in turns]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"broken\n', encoding="utf-8")
    return path


def digest(out: Path) -> str:
    """One digest of everything that is published; the manifest without its `run` block."""
    found = hashlib.sha256()
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith(CACHE):
            content = path.read_bytes()
            if name == "manifest.json":
                document = json.loads(content)
                document.pop("run")
                content = json.dumps(document, sort_keys=True).encode()
            found.update(name.encode() + b"\0" + content)
    return found.hexdigest()


def is_complete(out: Path) -> bool:
    """What `prep verify` says."""
    try:
        return not problems(open_files(out))
    except Fault:
        return False


class Trial:
    """One way to write an output (afresh, over an old one, over an old one where folders cannot change places)."""

    def __init__(self, place: Path, data: Path, kind: str, *, unproven: int = 0) -> None:
        self.place, self.data, self.kind, self.unproven = place, data, kind, unproven
        self.lacks = "exchange" if kind == "replace" else ""
        self.out = place / "out"
        self.before = place / "before"
        self.old = ""
        if kind != "new":
            small_pack(data, self.before, OLD)
            self.old = digest(self.before)
        self.reset()
        counted = files.operations = Faulty(lacks=self.lacks)  # type: ignore[assignment]
        try:
            small_pack(data, self.out)
        finally:
            files.operations = faults.SYSTEM
        self.want = digest(self.out)
        self.calls = len(counted.done)

    def reset(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        if self.old:
            shutil.copytree(self.before, self.out)

    def fail(self, mode: str, at: int) -> Faulty:
        """A run in which one call goes wrong."""
        faulty = files.operations = Faulty(mode, at, self.lacks)  # type: ignore[assignment]
        try:
            small_pack(self.data, self.out)
        except (MachineFault, Killed):
            pass
        finally:
            files.operations = faults.SYSTEM
        return faulty

    def check(self, what: str) -> None:
        """The state after a failure, and after the run that follows it."""
        if is_complete(self.out):
            assert digest(self.out) in (self.want, self.old), f"{what}: complete and neither old nor new"
        else:
            assert self.kind != "exchange", f"{what}: the old output is gone"
        caches = set((self.out / CACHE / "chunks").glob("*.cache"))
        again = small_pack(self.data, self.out)
        assert digest(self.out) == self.want, f"{what}: other bytes after starting again"
        assert not leftovers(self.out), what
        if again.state == "written":
            assert again.collected is not None
            assert again.collected.reused == again.manifest["run"]["chunks_reused"], what
            # a chunk whose sample had not been compared when the run ended is made anew
            assert len(caches) - self.unproven <= again.collected.reused <= len(caches), what

    def go(self, modes: tuple[str, ...], every: int) -> int:
        """Fails each `every`-th call in each mode; returns how many times."""
        count = 0
        for number, mode in enumerate(modes):
            for at in range(number % every, self.calls, every):
                self.reset()
                faulty = self.fail(mode, at)
                what = f"{self.kind}, {mode} at call {at} ({faulty.failed})"
                if mode in ("ENOSPC", "EIO") and faulty.failed not in ("unlink", "rmdir"):
                    assert not leftovers(self.out), what
                self.check(what)
                count += 1
        return count


KINDS = ("new", "exchange", "replace")


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_fails(place: Path, data: Path, kind: str) -> None:
    """A sample of the loop below."""
    assert Trial(place, data, kind).go(MODES, 40) > 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_that_fails(place: Path, data: Path, kind: str) -> None:
    """Each mutating call of a run: no space once, an input/output error once, a full disk from there on, death, and
    death in the middle of a write."""
    assert Trial(place, data, kind).go(MODES, 1) > 1000


@pytest.mark.parametrize("every", [25, pytest.param(1, marks=pytest.mark.slow)])
def test_a_call_that_fails_while_a_back_end_is_proven(
    place: Path, data: Path, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof writes its mark from a thread of its own, at any moment."""
    monkeypatch.setattr(tokenize, "choose", lambda *_, **__: "fastokens")
    trial = Trial(place, data, "new", unproven=1)
    assert list((trial.out / CACHE / "chunks").glob(f"*{PROVEN}"))
    assert trial.go(MODES, every) > 20


def killed_by_signal(data: Path, out: Path, at: int) -> int:
    """Packs in a process that kills itself with SIGKILL at a call; returns its exit code."""
    command = [sys.executable, faults.__file__, str(out), str(data), str(at)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL).returncode


@pytest.mark.parametrize("runs", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_real_sigkill(place: Path, data: Path, runs: int) -> None:
    trial = Trial(place, data, "exchange")
    for at in random.Random(5).sample(range(trial.calls), runs):
        trial.reset()
        assert killed_by_signal(data, trial.out, at) == -9
        trial.check(f"SIGKILL at call {at}")


def test_the_exchange_needs_no_moment_without_an_output(place: Path, data: Path) -> None:
    """The calls around the exchange, each of them."""
    trial = Trial(place, data, "exchange")
    trial.reset()
    counted = files.operations = Faulty()  # type: ignore[assignment]
    small_pack(data, trial.out)
    files.operations = faults.SYSTEM
    at = counted.done.index("exchange")
    for mode in ("kill", "EIO"):
        for number in range(at - 6, at + 8):
            trial.reset()
            trial.fail(mode, number)
            trial.check(f"{mode} at {number}, {number - at} from the exchange")


def test_the_loop_can_fail(place: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: without the one step there is a moment without an output, and the loop finds it."""
    monkeypatch.setattr("pipeline.output.publish._exchange", lambda build, out: False)
    trial = Trial(place, data, "exchange")

    def loop() -> None:
        for at in range(trial.calls - 30, trial.calls):
            trial.reset()
            trial.fail("kill", at)
            trial.check(f"kill at {at}")

    with pytest.raises(AssertionError, match="the old output is gone"):
        loop()


# --- what is in the cache ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other", "folder"])
def test_a_damaged_cache_file_is_made_again(place: Path, data: Path, damage: str) -> None:
    """Never used, never in the way: the chunk is tokenized again, the others are reused."""
    out = place / "out"
    small_pack(data, out)
    want = digest(out)
    caches = sorted((out / CACHE / "chunks").glob("*.cache"))
    whole = caches[0].read_bytes()
    caches[0].unlink()
    if damage == "flip":
        at = len(whole) // 2
        caches[0].write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    elif damage == "cut":
        caches[0].write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        caches[0].write_bytes(b"")
    elif damage == "other":
        caches[0].symlink_to(caches[1])
    else:
        caches[0].mkdir()
    (out / "manifest.json").unlink()
    if damage == "folder":  # rename cannot replace it: the machine says no, and says where
        with pytest.raises(MachineFault, match="chunks"):
            small_pack(data, out)
        return
    again = small_pack(data, out)
    assert again.collected is not None
    assert again.collected.reused == len(caches) - 1
    assert digest(out) == want


def test_a_file_of_the_users_stays(place: Path, data: Path) -> None:
    """Notes that someone put into OUT outlive each way to write it anew."""
    out = place / "out"
    small_pack(data, out, OLD)
    (out / "NOTES.md").write_text("mine")
    (out / "plots").mkdir()
    (out / "plots" / "a.png").write_bytes(b"x")
    for lacks, setting in (("", "cutoff_len=50"), ("exchange", "cutoff_len=52")):
        files.operations = Faulty(lacks=lacks)  # type: ignore[assignment]
        small_pack(data, out, setting)
        files.operations = faults.SYSTEM
        assert (out / "NOTES.md").read_text() == "mine"
        assert (out / "plots" / "a.png").is_file()
        assert is_complete(out)


def test_a_link_to_the_output_stays_a_link(place: Path, data: Path) -> None:
    real = place / "disk" / "real"
    real.mkdir(parents=True)
    out = place / "out"
    out.symlink_to(real)
    small_pack(data, out, OLD)
    small_pack(data, out)
    assert out.is_symlink()
    assert is_complete(real)
    assert not leftovers(real)


def test_a_planted_link_is_not_followed(place: Path, data: Path) -> None:
    """A link where a shard folder was: the new output replaces the link, its target stays."""
    out, victim = place / "out", place / "victim"
    small_pack(data, out, OLD)
    victim.mkdir()
    (victim / "data-00000-of-00002.arrow").write_text("precious")
    shutil.rmtree(out / "train")
    (out / "train").symlink_to(victim)
    small_pack(data, out)
    assert not (out / "train").is_symlink()
    assert (victim / "data-00000-of-00002.arrow").read_text() == "precious"
    assert is_complete(out)


def test_a_second_start_sweeps_nothing_of_the_first(place: Path, data: Path) -> None:
    """While a run holds OUT, another one that is refused must not tidy its files away."""
    out = place / "out"
    small_pack(data, out, OLD)
    inside = out / CACHE / "chunks" / f"x{files.TEMPORARY}"
    from pipeline.output.publish import locked

    with locked(out):
        inside.write_bytes(b"being written")
        with pytest.raises(Fault, match="another run"):
            small_pack(data, out)
        assert inside.exists()


def test_a_flipped_bit_in_the_kept_proof_does_not_reach_the_manifest(place: Path, data: Path) -> None:
    out = place / "out"
    small_pack(data, out)
    want = digest(out)
    path = next((out / CACHE).glob("proof-*.json"))
    path.write_bytes(path.read_bytes().replace(b"left-out", b"left-in!"))
    (out / "manifest.json").unlink()
    small_pack(data, out)
    assert digest(out) == want


# --- a disk that is really full ---------------------------------------------------------------------------------------


def test_a_full_disk(tmp_path: Path, data: Path) -> None:
    """A file system of 300 kB: exit 3 and a word on space; with more room the same command finishes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        words = [f"dataset={data}", f"model_name_or_path={faults.TINY}", "template=qwen3", "max_rejected=5"]
        (disk / "ballast").write_bytes(bytes(240 << 10))
        assert run(["pack", *words, "-o", str(disk / "out"), "--quiet"]) == 3
        assert not is_complete(disk / "out")
        assert not leftovers(disk / "out")
        (disk / "ballast").unlink()
        assert run(["pack", *words, "-o", str(disk / "out"), "--quiet"]) == 0
        assert is_complete(disk / "out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
