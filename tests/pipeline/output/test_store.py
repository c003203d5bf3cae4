"""The seam to fsspec: names, listings, tries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.output import store
from pipeline.output.store import Held, Store, cache_folder, is_store, local_folder
from registry.errors import MachineFault, UsageFault


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(store, "PAUSES_S", (0.0, 0.0))
    MemoryFileSystem.store.clear()
    yield
    MemoryFileSystem.store.clear()


@pytest.mark.parametrize(
    ("out", "expected"),
    [("s3://b/x", True), ("prepared/x", False), ("/a/b", False), ("file:///a/b", False), ("C:/a", False),
     ("a::b", False), ("x::s3://b", True), ("", False)],
)  # fmt: skip
def test_what_is_a_store(out: str, expected: bool) -> None:
    assert is_store(out) is expected


def test_a_folder_stays_what_it_was() -> None:
    assert local_folder("a/b") == Path("a/b")
    assert local_folder("file:///a/b") == Path("/a/b")


def test_objects_are_named_from_the_url() -> None:
    """With or without a slash at its end, and never those of a neighbour whose name begins alike."""
    system = MemoryFileSystem()
    for path in ("b/x/one", "b/x/sub/two", "b/xy/other", "b/x.json"):
        system.pipe_file(f"memory://{path}", b"123")
    for url in ("memory://b/x", "memory://b/x/"):
        assert Store(url).held() == {"one": Held(3, ""), "sub/two": Held(3, "")}
    assert Store("memory://b/none").held() == {}
    assert Store("memory://b/x").about("sub/two") == Held(3, "")
    assert Store("memory://b/x").about("none") is None


def test_a_small_object_is_read_whole_or_refused() -> None:
    MemoryFileSystem().pipe_file("memory://b/x/one", b"12345")
    assert Store("memory://b/x").read("one", 5) == b"12345"
    assert Store("memory://b/x").read("two", 5) is None
    with pytest.raises(MachineFault, match="memory://b/x/one: is larger than"):
        Store("memory://b/x").read("one", 4)


def test_removing_twice_is_fine() -> None:
    MemoryFileSystem().pipe_file("memory://b/x/one", b"1")
    held = Store("memory://b/x")
    held.remove("one")
    held.remove("one")
    assert held.held() == {}


@pytest.mark.parametrize(
    ("error", "calls", "kind"),
    [(ConnectionResetError("k"), 3, MachineFault), (TimeoutError("k"), 3, MachineFault),
     (PermissionError("k"), 1, MachineFault), (ValueError("k"), 1, MachineFault),
     (FileNotFoundError("k"), 1, UsageFault)],
)  # fmt: skip
def test_what_is_tried_again(monkeypatch: pytest.MonkeyPatch, error: Exception, calls: int, kind: type) -> None:
    """Troubles of the network, three times; a refusal, a missing bucket or a library's own error at once."""
    made: list[str] = []

    def fails(self: object, path: str, data: bytes, **options: object) -> None:
        made.append(path)
        raise error

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fails)
    with pytest.raises(kind, match="memory://b/x"):
        Store("memory://b/x").write("one", b"1")
    assert len(made) == calls


def test_the_cache_folder_is_one_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CACHE_HOME when it is absolute, ~/.cache otherwise; one folder a URL, whatever its credentials."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    folder = cache_folder("s3://k:secret@b/my sft/", "")
    assert folder.parent == tmp_path / ".cache" / "prep"
    assert folder.name.startswith("my-sft-")
    assert folder == cache_folder("s3://b/my sft", "")
    assert folder != cache_folder("s3://c/my sft", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "else"))
    assert cache_folder("s3://b/x", "").is_relative_to(tmp_path / "else" / "prep")
