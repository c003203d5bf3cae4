"""One file from start to end: hashed as read, cut the same way every time, and noticed when it changes underneath."""

from __future__ import annotations

import gzip
import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from registry.errors import MachineFault
from registry.rules import rules
from stages.core.findings import Note
from stages.core.records import Chunk, FileInfo, Limits
from stages.parse.json_record import UNPARSED, parse
from stages.readers.scan import load, records, scan

DATA = b"".join(b'{"n": %d}\n' % n for n in range(20_000))


@pytest.mark.parametrize("size", [0, 1, 100, len(DATA)])
def test_the_digest_is_that_of_the_bytes_on_disk(tmp_path: Path, size: int) -> None:
    for name, data in [("a.jsonl", DATA[:size]), ("a.jsonl.gz", gzip.compress(DATA[:size]))]:
        (tmp_path / name).write_bytes(data)
        *_, info = scan(str(tmp_path / name), Limits(chunk_bytes=4096))
        assert isinstance(info, FileInfo)
        assert (info.sha256, info.bytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_chunks_are_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(DATA)
    first, second = (list(scan(str(tmp_path / "a.jsonl"), Limits(chunk_bytes=5000))) for _ in range(2))
    assert first == second
    assert all(isinstance(chunk, Chunk) for chunk in first[:-1])


@pytest.mark.parametrize("change", ["edit", "cut", "gone"])
def test_a_file_that_changes_between_scan_and_read_is_noticed(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(DATA)
    chunk, *_ = scan(str(path), Limits(chunk_bytes=5000))
    assert isinstance(chunk, Chunk)
    assert load(chunk) == DATA[: chunk.end]
    if change == "edit":
        path.write_bytes(DATA.replace(b'{"n": 7}', b'{"n": 8}'))
    elif change == "cut":
        path.write_bytes(DATA[:100])
    else:
        path.unlink()
    with pytest.raises(Exception, match=r"changed|no such file") as caught:
        records(chunk)
    assert caught.value.exit_code in (2, 3)


def test_leaving_a_scan_early_leaves_no_thread_and_no_file_open(tmp_path: Path) -> None:
    import threading

    (tmp_path / "a.jsonl").write_bytes(DATA)
    chunks = scan(str(tmp_path / "a.jsonl"), Limits(chunk_bytes=64))
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]  # it is a generator
    assert not [thread for thread in threading.enumerate() if thread.name == "sha256"]


def test_reading_lines_loads_no_numpy(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(DATA)
    code = (
        "import sys; from stages.readers.scan import *; from stages.parse.json_record import parse\n"
        f"for c in scan({str(tmp_path / 'a.jsonl')!r}):\n"
        "    isinstance(c, Chunk) and [parse(r.data, []) for r in records(c)]\n"
        "heavy = {'numpy', 'pyarrow', 'polars', 'fsspec', 'zstandard', 'asyncio', 'logging'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_hundred_megabyte_line_takes_little_time_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": 1}\n{"a": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"a": 2}\n')
    code = (
        "import sys; from stages.readers.scan import *\n"
        f"*chunks, info = scan({str(path)!r})\n"
        "found = [r for c in chunks for r in records(c)]\n"
        "assert [[n.rule for n in r.notes] for r in found] == [[], ['bytes.line-too-long'], []]\n"
        "assert [r.line for r in found] == [1, 2, 3]\n"
        "peak = next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))\n"
        "assert peak < 200_000, peak"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert time.perf_counter() - start < 10


def _mutated_file(path: Path, count: int) -> list[bytes]:
    """`count` lines, every other one damaged, but for its line end."""
    rng = random.Random(count)
    lines = []
    for number in range(count):
        line = bytearray(b'{"messages": [{"role": "user", "content": "\\u00e9 number %d"}], "n": 1}' % number)
        if number % 2:
            for _ in range(rng.randrange(1, 4)):
                line[rng.randrange(len(line))] = rng.choice(b'"\\{}[]:,\0\xff\xed 9eN')
            if rng.random() < 0.3:
                del line[rng.randrange(1, len(line)) :]
            elif rng.random() < 0.3:
                line *= 2
        lines.append(bytes(line))
    path.write_bytes(b"\n".join(lines))
    return lines


def _every_line_accounted_for(path: Path, lines: list[bytes]) -> None:
    *chunks, info = scan(str(path), Limits(chunk_bytes=1 << 14))
    assert isinstance(info, FileInfo)
    assert info.records == len(lines)
    place = 0
    for chunk in chunks:
        assert isinstance(chunk, Chunk)
        for record in records(chunk):
            assert (record.record, record.line, record.data) == (place, place + 1, lines[place])
            notes: list[Note] = []
            value = parse(record.data, notes)
            assert (value is UNPARSED) <= bool(notes)
            if place % 2 == 0:
                assert not notes
            place += 1


def test_every_damaged_line_keeps_its_number_and_its_neighbours(tmp_path: Path) -> None:
    _every_line_accounted_for(tmp_path / "a.jsonl", _mutated_file(tmp_path / "a.jsonl", 1000))


@pytest.mark.slow
def test_every_one_of_10000_damaged_lines_keeps_its_number(tmp_path: Path) -> None:
    _every_line_accounted_for(tmp_path / "a.jsonl", _mutated_file(tmp_path / "a.jsonl", 10_000))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gz", "zst", "depth"])
def test_hostile_files_end_within_ten_seconds_under_a_gigabyte(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.jsonl.{kind}"
    if kind == "gz":
        with gzip.open(path, "wb", 9) as file:
            for _ in range(2048):
                file.write(bytes(1 << 20))
    elif kind == "zst":
        import zstandard

        packer = zstandard.ZstdCompressor().compressobj()
        path.write_bytes(b"".join(packer.compress(bytes(1 << 20)) for _ in range(8192)) + packer.flush())
    else:
        path.write_bytes(b'{"a":' + b"[" * 5_000_000 + b"]" * 5_000_000 + b"}\n")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from stages.readers.scan import *; from stages.parse.json_record import parse\n"
        f"*chunks, info = scan({str(path)!r})\n"
        "notes = list(info.notes)\n"
        "[parse(r.data, notes) for c in chunks for r in records(c)]\n"
        "print(*{note.rule for note in notes})"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert time.perf_counter() - start < 10
    assert ("json.depth" if kind == "depth" else "bytes.bomb") in done.stdout


def test_every_rule_of_this_stage_is_in_the_table() -> None:
    import re

    folder = Path(__file__).parents[3] / "stages"
    sources = [*(folder / "readers").rglob("*.py"), *(folder / "parse").glob("*.py")]
    used = {
        rule for path in sources for rule in re.findall(r'"((?:bytes|json|csv|table)\.[a-z0-9-]+)"', path.read_text())
    }
    assert used <= set(rules())
    listed = {rule for rule in rules() if rule.split(".")[0] in ("bytes", "json", "csv", "table")}
    assert listed == used


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises((MachineFault, Exception), match="folder"):
        list(scan(str(tmp_path)))
