"""Files of nothing but broken lines: the time of good ones, and memory that does not grow with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.records import Chunk
from stages.readers.scan import scan

GOOD = '{"instruction": "a", "output": "b"}\n'
BROKEN = {
    "words": "x\n", "cut": '{"instruction": "a"\n', "empty": "{}\n", "types": '{"instruction": 5, "output": "b"}\n',
    "quotes": '"\n', "arrays": "[]\n", "bytes": "\x01\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_chunk_has_an_end_however_short_its_lines(name: str, tmp_path: Path) -> None:
    """Every rejected record of a chunk is held until the chunk is through."""
    (tmp_path / "a.jsonl").write_text(BROKEN[name] * 400_000)
    chunks = [item for item in scan(os.fspath(tmp_path / "a.jsonl")) if isinstance(item, Chunk)]
    assert sum(chunk.records for chunk in chunks) == 400_000
    assert max(chunk.records for chunk in chunks) < 200_000


_RUN = """
import resource, sys
from pipeline.cli import run
code = run(["validate", sys.argv[1], "--workers", "1", "--quiet", "--rejects", sys.argv[1] + ".rejects"])
used = resource.getrusage(resource.RUSAGE_SELF)
sys.stderr.write(f"\\n{code} {used.ru_utime + used.ru_stime} {used.ru_maxrss}\\n")
"""


def _cost(folder: Path, line: str, count: int) -> tuple[float, int]:
    (folder / "a.jsonl").write_text(line * count)
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "a.jsonl"], cwd=folder, capture_output=True, text=True, timeout=300, check=True
    )
    _, seconds, kibibytes = done.stderr.split()[-3:]
    return float(seconds), int(kibibytes) << 10


def test_memory_is_flat(tmp_path: Path) -> None:
    few = _cost(tmp_path, BROKEN["words"], 200_000)
    many = _cost(tmp_path, BROKEN["words"], 600_000)
    assert many[1] < few[1] + (64 << 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_two_million_cost_no_more_than_three_times_as_many_good_ones(name: str, tmp_path: Path) -> None:
    good = _cost(tmp_path, GOOD, 2_000_000)
    broken = _cost(tmp_path, BROKEN[name], 2_000_000)
    assert broken[0] < 3 * good[0]
    assert broken[1] < 512 << 20
