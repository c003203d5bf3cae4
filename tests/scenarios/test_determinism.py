"""Same input, same bytes: whatever the number of workers, the hash seed, the time zone, the locale, the working
directory, the order in which a folder lists its files, and after an interruption."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.output.manifest import CACHE, dump
from pipeline.output.open import read_manifest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "fixtures" / "tiny"
RUNNER = """
import sys
from pipeline import plan
from pipeline.engine import open as engines
from stages.core.records import Limits
engines.SMALL_INPUT_BYTES = 0
plan.Limits = lambda: Limits(chunk_bytes=16 << 10)
from pipeline.cli import main
if __name__ == "__main__":
    main(sys.argv[1:])
"""
WORKERS = (1, 2, 3, 5)
SETTINGS = ("packing=true", "cutoff_len=96", "val_size=0.1", "shuffle=true", "shard_size=40000", "max_rejected=9")


def write_data(folder: Path, *, backwards: bool) -> None:
    """Eight files whose listing order follows the order in which they are made, some records broken or repeated."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for part in sorted(range(8), reverse=backwards):
        dice = random.Random(part)
        lines = []
        for n in range(150):
            text = " ".join(dice.choices(["sea", "wind", "潮水", "mañana", "😀", "salt"], k=dice.randint(1, 30)))
            lines.append(json.dumps({"instruction": f"{part} {n % 140}: {text}?", "output": f"{text}."}))
        lines[20 + part] = '{"broken'
        (folder / f"part{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def digest(out: Path) -> str:
    """Everything published, the manifest without its `run` block."""
    found = hashlib.sha256()
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith(CACHE):
            data = path.read_bytes()
            if name == "manifest.json":
                data = dump({key: value for key, value in json.loads(data).items() if key != "run"})
            found.update(name.encode() + b"\0" + data)
    return found.hexdigest()


class Place:
    """Where the runs of one test happen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.runner = folder / "runner.py"
        self.runner.write_text(RUNNER)
        self.count = 0

    def start(self, out: Path, *settings: str, **environment: str) -> subprocess.Popen[bytes]:
        words = [f"dataset={self.data}", f"model_name_or_path={TINY}", "template=qwen3", *SETTINGS, *settings]
        elsewhere = self.folder / f"cwd{self.count}"
        elsewhere.mkdir()
        self.count += 1
        return subprocess.Popen(
            [sys.executable, str(self.runner), "pack", *words, "-o", str(out), "--quiet"],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=elsewhere,
            start_new_session=True,
        )

    def digest(self, *settings: str, **environment: str) -> str:
        out = self.folder / f"out{self.count}"
        assert self.start(out, *settings, **environment).wait(120) == 0
        return digest(out)


def matrix(place: Place, workers: tuple[int, ...], seeds: tuple[str, ...]) -> dict[str, str]:
    """One run a combination; what it was -> its digest."""
    zones = itertools.cycle(["UTC", "Pacific/Kiritimati", "America/St_Johns"])
    locales = itertools.cycle(["C", "C.UTF-8", "POSIX"])
    found = {}
    for number, (count, seed) in enumerate(itertools.product(workers, seeds)):
        zone, locale, backwards = next(zones), next(locales), bool(number % 2)
        write_data(place.data, backwards=backwards)
        what = f"{count} workers, seed {seed}, {zone}, {locale}, {'last' if backwards else 'first'} file first"
        found[what] = place.digest(f"workers={count}", PYTHONHASHSEED=seed, TZ=zone, LC_ALL=locale)
    return found


def test_a_few_of_the_matrix(tmp_path: Path) -> None:
    found = matrix(Place(tmp_path), (1, 3), ("0", "7"))
    assert len(found) == 4
    assert len(set(found.values())) == 1, found


@pytest.mark.slow
def test_the_whole_matrix(tmp_path: Path) -> None:
    """Twelve runs, then runs that go on after a kill at a random moment, then Ray: one digest."""
    place = Place(tmp_path)
    found = matrix(place, WORKERS, ("0", "1", "2"))
    moments = random.Random(3)
    for number, workers in enumerate(WORKERS):
        out = tmp_path / f"killed{number}"
        run = place.start(out, f"workers={workers}")
        time.sleep(moments.uniform(0.8, 2.2))
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert place.start(out, f"workers={6 - workers}").wait(120) == 0
        reused = read_manifest(out)["run"]["chunks_reused"]
        found[f"killed with {workers} workers, then with {6 - workers}, {reused} chunks reused"] = digest(out)
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        pass
    else:
        found["ray"] = place.digest("engine=ray", "workers=2")
    assert len(found) >= 16
    assert len(set(found.values())) == 1, found


def test_another_input_is_another_digest(tmp_path: Path) -> None:
    """The comparison can fail: one changed letter is another digest."""
    place = Place(tmp_path)
    write_data(place.data, backwards=False)
    before = place.digest("workers=1")
    path = place.data / "part3.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("salt", "sale", 1), encoding="utf-8")
    assert place.digest("workers=1") != before
