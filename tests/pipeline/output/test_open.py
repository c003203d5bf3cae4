"""Opening an output: its manifest by folder or URL, and a message that says what was named instead."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.output import open as opening
from pipeline.output.manifest import CACHE, MANIFEST, OWNER, dump, parse_manifest, self_digest
from pipeline.output.open import local_copy, open_files, open_folder, output_of, read_manifest
from pipeline.output.verify import FolderFiles
from registry.errors import DataFault, UsageFault
from tests.support.training import empty_manifest

URL = "memory://bucket/out"


def small(content: bytes = b"rows") -> dict[str, Any]:
    """A manifest that names one file with this content."""
    entry = {"file": "README.md", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    split = {"rows": 0, "examples": 0, "tokens": 0, "trained_tokens": 0, "fill_rate": None, "shards": []}
    manifest = {**empty_manifest("lm"), "splits": {"train": split}, "files": [entry]}
    return {**manifest, "sha256": self_digest(manifest)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of the test's own, and manifests that need not fit their schema (see test_remote_fetch.py)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def fetch_manifest(url: str) -> dict[str, Any]:
        return parse_manifest(MemoryFileSystem().cat_file(f"{url}/{MANIFEST}"), url)

    monkeypatch.setattr(opening, "fetch_manifest", fetch_manifest)
    MemoryFileSystem.store.clear()
    yield
    MemoryFileSystem.store.clear()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    (folder / CACHE).mkdir(parents=True)
    (folder / CACHE / OWNER).touch()
    (folder / MANIFEST).write_bytes(dump(small()))
    (folder / "README.md").write_bytes(b"rows")
    return folder


def put(content: bytes, manifest: dict[str, Any]) -> None:
    MemoryFileSystem().pipe_file(f"{URL}/README.md", content)
    MemoryFileSystem().pipe_file(f"{URL}/{MANIFEST}", dump(manifest))


def test_a_folder_is_opened_where_it_is(out: Path) -> None:
    assert read_manifest(out) == read_manifest(f"file://{out}") == small()
    assert open_folder(str(out)) == out
    assert isinstance(open_files(out), FolderFiles)


@pytest.mark.parametrize(
    ("name", "says"), [("none", "no such folder"), ("out/README.md", "is a file"), ("", "no manifest.json in it")]
)
def test_what_holds_no_output_is_named_as_what_it_is(out: Path, name: str, says: str) -> None:
    with pytest.raises(UsageFault, match=says) as caught:
        read_manifest(out.parent / name)
    assert caught.value.hint


def test_a_file_leads_to_its_output_and_a_strangers_does_not(out: Path, tmp_path: Path) -> None:
    assert output_of(out / MANIFEST) == output_of(out / "README.md") == out
    (out / "notes.txt").touch()
    (tmp_path / "README.md").touch()
    for path in (out / "notes.txt", tmp_path / "README.md", out / "gone.arrow", out):
        assert output_of(path) is None


def test_an_output_behind_a_url_is_fetched_once(tmp_path: Path) -> None:
    put(b"rows", small())
    said: list[str] = []
    folder = open_folder(URL, said.append)
    assert (folder / "README.md").read_bytes() == b"rows"
    assert read_manifest(folder) == small()
    assert said[0].startswith("fetching 1 of 1 files")
    assert local_copy(URL, said.append) == folder
    assert len(said) == 1, "the copy is whole, so nothing is fetched again"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"rowz", "its content has changed"),
        (b"row", "3 bytes instead of 4"),
        (b"rows and more", "more than 4 bytes"),
    ],
)
def test_a_file_that_is_not_as_the_manifest_has_it_is_refused(content: bytes, says: str) -> None:
    put(content, small())
    with pytest.raises(DataFault, match=rf"memory://bucket/out/README\.md: {says}"):
        local_copy(URL)


def test_a_changed_manifest_is_refused() -> None:
    put(b"rows", {**small(), "cutoff_len": 77})
    with pytest.raises(DataFault, match="has been changed"):
        local_copy(URL)


def test_a_manifest_that_names_a_file_elsewhere_is_refused() -> None:
    manifest = {**small(), "files": [{"file": "../x", "bytes": 1, "sha256": "0" * 64}]}
    put(b"rows", {**manifest, "sha256": self_digest(manifest)})
    with pytest.raises(DataFault, match="lies outside the output"):
        local_copy(URL)
