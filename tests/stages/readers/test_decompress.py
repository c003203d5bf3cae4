"""Compressed files: read as what is inside, bounded, and readable up to where they are damaged."""

from __future__ import annotations

import bz2
import gzip
import lzma
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from stages.core.records import FileInfo, Limits, Record
from stages.readers.scan import records, scan

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
LINES = [b'{"n": %d, "text": "%s"}' % (n, str(n * 7919).encode() * 5) for n in range(5000)]
DATA = b"\n".join(LINES) + b"\n"


def read(path: Path, limits: Limits | None = None) -> tuple[list[Record], FileInfo]:
    *chunks, info = scan(str(path), limits or Limits())
    assert isinstance(info, FileInfo)
    return [record for chunk in chunks for record in records(chunk)], info


@pytest.mark.parametrize("kind", PACK)
def test_compressed_lines_read_like_plain_ones(tmp_path: Path, kind: str) -> None:
    packed = PACK[kind](DATA)
    (tmp_path / f"a.jsonl.{kind}").write_bytes(packed)
    found, info = read(tmp_path / f"a.jsonl.{kind}", Limits(chunk_bytes=10_000))
    assert [record.data for record in found] == LINES
    assert [record.line for record in found] == list(range(1, 5001))
    assert found[3].byte_offset == DATA.index(LINES[3])
    assert (info.bytes, info.notes, info.container) == (len(packed), (), "jsonl")


@pytest.mark.parametrize("kind", PACK)
def test_a_compressed_array_reads_like_a_plain_one(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"a.json.{kind}").write_bytes(PACK[kind](b"[" + b",\n".join(LINES) + b"]"))
    found, info = read(tmp_path / f"a.json.{kind}", Limits(chunk_bytes=10_000))
    assert [record.data for record in found] == LINES
    assert info.container == "array"


@pytest.mark.parametrize("kind", PACK)
def test_joined_compressed_files_read_as_one(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(PACK[kind](DATA) + PACK[kind](DATA))
    found, _ = read(tmp_path / "a")
    assert [record.data for record in found] == LINES + LINES


@pytest.mark.parametrize("kind", PACK)
def test_a_cut_file_says_so_and_keeps_what_came_before(tmp_path: Path, kind: str) -> None:
    import random

    noise = random.Random(3)
    lines = [b'{"n": "%s"}' % noise.randbytes(300).hex().encode() for _ in range(6000)]
    packed = PACK[kind](b"\n".join(lines) + b"\n")
    (tmp_path / f"a.jsonl.{kind}").write_bytes(packed[: len(packed) // 2])
    found, info = read(tmp_path / f"a.jsonl.{kind}")
    assert [note.rule for note in info.notes] == ["bytes.truncated-file"]
    assert 1000 < len(found) < 6000
    assert [record.data for record in found[:-1]] == lines[: len(found) - 1]


@pytest.mark.parametrize("kind", PACK)
def test_a_damaged_file_says_so(tmp_path: Path, kind: str) -> None:
    packed = bytearray(PACK[kind](DATA))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / f"a.jsonl.{kind}").write_bytes(packed)
    _, info = read(tmp_path / f"a.jsonl.{kind}")
    assert [note.rule for note in info.notes] == ["bytes.damaged-file"]


@pytest.mark.parametrize("inner", PACK)
def test_only_one_layer_is_undone(tmp_path: Path, inner: str) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(PACK[inner](DATA)))
    found, info = read(tmp_path / "a.jsonl.gz")
    assert not found
    assert [note.rule for note in info.notes] == ["bytes.nested-compression"]


@pytest.mark.parametrize(
    ("name", "data"), [("a.jsonl", gzip.compress(DATA)), ("a.jsonl.gz", DATA), ("a.xz", bz2.compress(DATA))]
)
def test_a_name_that_lies_is_a_warning_and_the_content_counts(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    found, info = read(tmp_path / name)
    assert len(found) == 5000
    assert [note.rule for note in info.notes] == ["bytes.extension"]


def _zstd_zeros(size: int) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


BOMBS: dict[str, Callable[[], bytes]] = {
    "gz": lambda: gzip.compress(bytes(128 << 20), 9),
    "zst": lambda: _zstd_zeros(1 << 30),
    "bz2": lambda: bz2.compress(bytes(128 << 20)),
    "xz": lambda: lzma.compress(bytes(256 << 20), preset=0),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_ends_early_under_its_own_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"a.jsonl.{kind}").write_bytes(BOMBS[kind]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    # gzip stays just under 1000:1, so the ratio is lowered for it
    found, info = read(tmp_path / f"a.jsonl.{kind}", Limits(ratio=500, ratio_floor=16 << 20))
    assert "bytes.bomb" in [note.rule for note in info.notes]
    assert time.perf_counter() - start < 10
    assert len(found) <= 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024


def test_a_zstd_frame_that_asks_for_gigabytes_of_window_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "a.jsonl.zst").write_bytes(packer.compress(DATA) + packer.flush())
    found, info = read(tmp_path / "a.jsonl.zst")
    assert not found
    assert [note.rule for note in info.notes] == ["bytes.damaged-file"]
