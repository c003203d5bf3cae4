"""URLs: few protocols, one hop, the same records as from a local file, and no password ever shown."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from registry.errors import Fault, MachineFault, UsageFault
from stages.core.display import clean
from stages.core.records import FileInfo, Limits, Record
from stages.core.urls import named, public
from stages.readers.discover import discover
from stages.readers.remote_file import PROTOCOLS, identity
from stages.readers.scan import records, scan

LINES = [b'{"n": %d}' % n for n in range(3000)]


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def read(url: str) -> tuple[list[Record], FileInfo]:
    *chunks, info = scan(url, Limits(chunk_bytes=2000))
    assert isinstance(info, FileInfo)
    return [record for chunk in chunks for record in records(chunk)], info


def test_lines_arrays_and_compressed_files_read_as_from_disk(memory: fsspec.AbstractFileSystem) -> None:
    data = b"\n".join(LINES)
    for name, content in [
        ("a.jsonl", data),
        ("a.json", b"[" + b",".join(LINES) + b"]"),
        ("a.jsonl.gz", gzip.compress(data)),
    ]:
        memory.pipe(f"/d/{name}", content)
        found, info = read(f"memory://d/{name}")
        assert [record.data for record in found] == LINES
        assert (info.sha256, info.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        assert not info.notes


def test_parquet_is_fetched_whole(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(3000))}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    memory.pipe("/d/a.parquet", content)
    found, info = read("memory://d/a.parquet")
    assert len(found) == 3000
    assert info.sha256 == hashlib.sha256(content).hexdigest()


def test_folders_and_globs_are_sorted(memory: fsspec.AbstractFileSystem) -> None:
    for name in ["b.jsonl", "a.jsonl.gz", "sub/c.csv", "notes.md", ".hidden.jsonl"]:
        memory.pipe(f"/d/{name}", b"{}")
    assert discover("memory://d") == ["memory:///d/a.jsonl.gz", "memory:///d/b.jsonl", "memory:///d/sub/c.csv"]
    assert discover("memory://d/*.jsonl") == ["memory:///d/.hidden.jsonl", "memory:///d/b.jsonl"]
    assert discover("memory://d/notes.md") == ["memory://d/notes.md"]
    assert read(discover("memory://d")[1])[1].records == 1


@pytest.mark.parametrize("url", ["memory://d/none.jsonl", "memory://none/*.jsonl"])
def test_what_is_not_there_is_the_users_fault(memory: fsspec.AbstractFileSystem, url: str) -> None:
    with pytest.raises(UsageFault):
        discover(url)


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(LINES))
    assert discover(f"file://{tmp_path}") == [str(tmp_path / "a.jsonl")]
    assert read(f"file://{tmp_path}/a.jsonl")[0][7].data == LINES[7]


@pytest.mark.parametrize(
    "url",
    [
        "simplecache::http://127.0.0.1/x",
        "zip://a.jsonl::file:///etc/passwd",
        "ftp://host/x",
        "sftp://host/x",
        "dask://x",
        "reference://x",
        "github://org:repo@/x",
        "data://x",
        "local://x",
        "s4://bucket/x",
    ],
)
def test_other_protocols_and_chains_are_refused_without_a_try(url: str) -> None:
    with mock.patch("fsspec.core.url_to_fs") as opened:
        for use in (discover, lambda spec: list(scan(spec))):
            with pytest.raises(UsageFault):
                use(url)
    opened.assert_not_called()


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://user:secret@host/a.jsonl?X-Amz-Signature=secret", "https://host/a.jsonl"),
        ("http://secret@host:80/a", "http://host:80/a"),
        ("s3://key:secret@bucket/a?b", "s3://bucket/a?b"),
        ("memory://d/a\x1b[31m", "memory://d/a\\x1b[31m"),
        ("dir/a@b?c.jsonl", "dir/a@b?c.jsonl"),
    ],
)
def test_no_credential_is_shown(url: str, seen: str) -> None:
    assert public(url) == seen


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in ("file", "memory")])
def test_every_failure_of_a_store_is_a_fault_without_secrets(protocol: str) -> None:
    url = f"{protocol}://user:secret@host/a.jsonl"
    for error in (
        PermissionError("secret"),
        RuntimeError("secret"),
        FileNotFoundError("secret"),
        ImportError("secret"),
    ):
        with mock.patch("fsspec.core.url_to_fs", side_effect=error), pytest.raises(Fault) as caught:
            discover(url)
        assert isinstance(caught.value, (UsageFault, MachineFault))
        assert "secret" not in str(caught.value) + caught.value.hint


def test_what_is_handed_on_names_no_credential(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe("/d/a.jsonl", b"{}")
    with mock.patch("fsspec.core.url_to_fs", return_value=(memory, "/d/a.jsonl")):
        chunk, info = scan("https://user:secret@host/d/a.jsonl?token=secret")
    assert chunk.path == info.path == "https://host/d/a.jsonl"


def test_the_identity_of_a_url_follows_its_content(memory: fsspec.AbstractFileSystem) -> None:
    """Same name, same size, other bytes: another identity."""
    seen = set()
    for content in (b"one", b"two"):
        memory.pipe("/d/a.jsonl", content)
        seen.add(identity("memory://d/a.jsonl"))
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("path", "carried"),
    [
        ("a b\nc.jsonl", "a b\nc.jsonl"),
        ("\x1b[31m\u202e/潮.jsonl", "\x1b[31m\u202e/潮.jsonl"),
        ("bad\udcff.jsonl", "bad\\udcff.jsonl"),
        ("https://me:secret@host/a?key=1", "https://host/a"),
    ],
)
def test_data_carries_the_path_itself(path: str, carried: str) -> None:
    """A program has to find the file by it; only what is no UTF-8 is escaped, and a URL keeps its secrets."""
    assert named(path) == carried
    assert public(path) == clean(carried)
