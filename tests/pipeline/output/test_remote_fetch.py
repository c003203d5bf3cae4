"""An output behind a URL is read like a folder: verified, fetched once, and trained from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.cli import run
from pipeline.config import load_config
from pipeline.output import store
from pipeline.output.manifest import dump, self_digest
from pipeline.output.open import local_copy, open_files, open_folder
from pipeline.output.publish import locked
from pipeline.output.remote_fetch import fetch_manifest
from pipeline.output.store import COPY, cache_folder
from pipeline.output.verify import problems
from pipeline.runs.pack.run import ensure_prepared
from registry.errors import BusyFault, DataFault, MachineFault, UsageFault
from stages.train.data import read_manifest as read_for_training
from stages.train.data import verify as verify_for_training
from tests.support.remote_outputs import chats, objects, pack

URL = "memory://bucket/sft"
ROOT = "/bucket/sft"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "PAUSES_S", (0.0, 0.0))
    MemoryFileSystem.store.clear()
    yield
    MemoryFileSystem.store.clear()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """An output that another machine has published; the data it was made of."""
    data = chats(tmp_path / "chats.jsonl")
    pack(data, URL, keep_cache=False)
    return data


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the objects that are read, as they are."""
    names: list[str] = []
    real = MemoryFileSystem._open

    def noted(self: Any, path: str, mode: str = "rb", **options: Any) -> Any:
        names.append(path.removeprefix(f"{ROOT}/"))
        return real(self, path, mode, **options)

    monkeypatch.setattr(MemoryFileSystem, "_open", noted)
    return names


def change(name: str, data: bytes) -> None:
    MemoryFileSystem().pipe_file(f"{URL}/{name}", data)


def shard() -> str:
    return next(name for name in objects(URL) if name.startswith("train/") and name.endswith(".arrow"))


# --- verify, why ------------------------------------------------------------------------------------------------------


def test_verify_says_of_a_url_what_it_says_of_a_folder(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", URL]) == 0
    assert f"{URL}: all " in capsys.readouterr().out
    name, whole = shard(), objects(URL)[shard()]
    said = {
        whole[:-1] + b"?": "its content has changed",
        whole[:-8]: f"{len(whole) - 8} bytes instead of {len(whole)}",
    }
    for data, words in said.items():
        change(name, data)
        assert [line for line in problems(open_files(URL)) if line.startswith(f"{name}: {words}")]
    change(name, whole)
    change("train/data-00009-of-00009.arrow", b"")
    assert problems(open_files(URL)) == ["train/data-00009-of-00009.arrow: is not in the manifest"]
    del MemoryFileSystem.store[f"{ROOT}/{name}"]
    assert f"{name}: is missing" in problems(open_files(URL))
    assert run(["verify", URL]) == 1
    assert f"prep: {URL}/{name}: is missing" in capsys.readouterr().err


def test_verify_counts_rows(published: Path) -> None:
    """A manifest that was written with a wrong count is found, digest or not."""
    document = json.loads(MemoryFileSystem().cat_file(f"{URL}/manifest.json"))
    document["splits"]["train"]["shards"][0]["rows"] += 1
    document["splits"]["train"]["rows"] += 1
    document["sha256"] = self_digest(document)
    change("manifest.json", dump(document))
    rows = document["splits"]["train"]["shards"][0]["rows"]
    shard = document["splits"]["train"]["shards"][0]["file"]
    assert problems(open_files(URL)) == [f"{shard}: {rows - 1} rows instead of {rows}"]


def test_why_shows_the_parts_where_it_was_made(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["why", URL]) == 0
    assert "made elsewhere" in capsys.readouterr().out
    pack(published, URL, "cutoff_len=50")
    assert run(["why", URL]) == 0
    assert "cutoff_len: 50" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["verify"], ["why"], ["stats"], ["trace", "--row", "0"], ["report"], ["inspect"]])
def test_where_there_is_none(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that reads an output says the same, exit code 2."""
    assert run([command[0], "memory://user:hunter2@nothing/here", *command[1:]]) == 2
    said = capsys.readouterr().err
    assert "holds no finished output" in said
    assert "hunter2" not in said


def test_while_it_is_being_published(published: Path) -> None:
    del MemoryFileSystem.store[f"{ROOT}/manifest.json"]
    change("publishing.json", b'{"schema_version":1,"files":[]}')
    with pytest.raises(UsageFault, match="is being published, or a run that published it has died"):
        fetch_manifest(URL)


# --- local copies -----------------------------------------------------------------------------------------------------


def test_training_takes_a_url(published: Path) -> None:
    """Every listed file, as the trainer wants it."""
    said: list[str] = []
    folder = ensure_prepared(load_config(None, [f"tokenized_path={URL}"]), said.append)
    verify_for_training(read_for_training(folder), ["train"])
    assert problems(open_files(folder)) == []
    assert said[0].startswith("fetching ")


def test_training_that_packs_first_takes_what_it_has_built(published: Path, opened: list[str]) -> None:
    """Nothing is fetched that this machine has."""
    pack(published, URL, "cutoff_len=50")
    opened.clear()
    assert local_copy(URL) == cache_folder(URL, "")
    assert set(opened) == {"manifest.json"}


def test_a_second_look_fetches_nothing(published: Path, opened: list[str]) -> None:
    first = local_copy(URL)
    opened.clear()
    assert local_copy(URL) == first == open_folder(URL)
    assert set(opened) == {"manifest.json"}


def test_only_what_has_changed_is_fetched(published: Path, opened: list[str]) -> None:
    folder = local_copy(URL)
    pack(published, URL, "cutoff_len=50", keep_cache=False)
    opened.clear()
    assert local_copy(URL) == folder
    assert shard() in opened
    assert not any("rejects" in name for name in opened)
    assert problems(open_files(folder)) == []


def test_a_fetch_that_was_interrupted_goes_on(
    published: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = store.Store.through
    calls: list[str] = []

    def through(self: store.Store, name: str, use: Any) -> Any:
        calls.append(name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, name, use)

    monkeypatch.setattr(store.Store, "through", through)
    with pytest.raises(KeyboardInterrupt):
        local_copy(URL)
    assert not (cache_folder(URL, COPY) / "manifest.json").exists()
    opened.clear()
    assert problems(open_files(local_copy(URL))) == []
    assert not set(calls[:2]) & set(opened)


def test_reading_that_breaks_off_is_tried_again(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a file as well; a trouble that lasts names the object and no secret."""
    real = MemoryFileSystem._open
    left = [2]

    class Breaking:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, count: int) -> bytes:
            if left[0]:
                left[0] -= 1
                raise ConnectionResetError("secret")
            data: bytes = self.inner.read(count)
            return data

    def broken(self: Any, path: str, mode: str = "rb", **options: Any) -> Any:
        inner = real(self, path, mode, **options)
        return Breaking(inner) if path.endswith(".arrow") else inner

    monkeypatch.setattr(MemoryFileSystem, "_open", broken)
    folder = local_copy(URL)
    assert problems(open_files(folder)) == []
    shutil.rmtree(folder)
    left[0] = 1000
    with pytest.raises(MachineFault, match=r"\.arrow: cannot be read \(ConnectionResetError\)") as caught:
        local_copy(URL)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("damage", ["flip", "short", "long", "gone"])
def test_a_damaged_object_never_becomes_a_copy(published: Path, damage: str) -> None:
    name, whole = shard(), objects(URL)[shard()]
    change(name, {"flip": whole[:-1] + b"?", "short": whole[:-8], "long": whole + b"x" * 9, "gone": b""}[damage])
    if damage == "gone":
        del MemoryFileSystem.store[f"{ROOT}/{name}"]
    with pytest.raises((DataFault, MachineFault), match=name):
        local_copy(URL)
    folder = cache_folder(URL, COPY)
    assert not (folder / "manifest.json").exists()
    change(name, whole)
    assert problems(open_files(local_copy(URL))) == []


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "train/../../evil"])
def test_a_manifest_that_leads_outside_is_refused(published: Path, tmp_path: Path, name: str) -> None:
    document = json.loads(MemoryFileSystem().cat_file(f"{URL}/manifest.json"))
    document["files"][0]["file"] = name
    document["sha256"] = self_digest(document)
    change("manifest.json", json.dumps(document).encode())
    with pytest.raises(DataFault, match="lies outside the output"):
        local_copy(URL)
    assert not list(tmp_path.rglob("evil"))
    assert any("lies outside" in line for line in problems(open_files(URL)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "not valid JSON"),
        (b"{}", "not a manifest of prep"),
        (b'{"schema_version": 1, "splits": {"train": 3}}', "not a manifest of prep"),
        (b'{"schema_version": 99, "splits": {}}', "schema_version 99"),
    ],
)
def test_what_is_no_manifest(data: bytes, said: str) -> None:
    change("manifest.json", data)
    with pytest.raises((DataFault, UsageFault), match=said):
        local_copy(URL)


def test_a_changed_manifest_is_not_trained_from(published: Path) -> None:
    document = json.loads(MemoryFileSystem().cat_file(f"{URL}/manifest.json"))
    document["cutoff_len"] += 1
    change("manifest.json", json.dumps(document).encode())
    with pytest.raises(DataFault, match="has been changed"):
        local_copy(URL)


def test_two_fetches_at_once(published: Path) -> None:
    folder = local_copy(URL)
    (folder / "manifest.json").unlink()
    with locked(folder), pytest.raises(BusyFault, match=f"{URL}: another run is fetching it"):
        local_copy(URL)


@pytest.mark.parametrize("words", [["stats"], ["trace", "--row", "0"], ["inspect"]])
def test_other_commands_show_what_a_folder_shows(
    published: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pack(published, str(tmp_path / "local"))
    capsys.readouterr()
    shown = []
    for out in (str(tmp_path / "local"), URL):
        assert run([words[0], out, *words[1:]]) == 0
        shown.append(capsys.readouterr().out.replace(out, "OUT"))
    assert shown[0] == shown[1]


def test_a_file_url_is_a_folder(published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "local"
    pack(published, f"file://{folder}")
    assert problems(open_files(f"file://{folder}")) == problems(open_files(folder)) == []
    assert open_folder(f"file://{folder}") == folder
