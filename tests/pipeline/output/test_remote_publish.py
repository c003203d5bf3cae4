"""`prep pack -o s3://...`: the same bytes as a local run, complete or not there at all, whatever call fails."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cli import run
from pipeline.output import store
from pipeline.output.manifest import CACHE
from pipeline.output.open import open_files
from pipeline.output.publish import locked
from pipeline.output.remote_publish import SENT, RemoteOutput
from pipeline.output.store import cache_folder
from pipeline.output.verify import problems
from registry.errors import BusyFault, MachineFault, UsageFault
from tests.support.remote_outputs import (
    JOURNAL,
    SYSTEM,
    Faulty,
    Killed,
    Tagged,
    chats,
    folder_objects,
    is_whole,
    normal,
    objects,
    pack,
    put,
    raw,
    readable,
)

URL = "memory://bucket/sft"
MODES = ("once", "down", "late", "torn", "refused", "kill")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty store, a cache folder of the test's own, and no pauses between tries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "PAUSES_S", (0.0, 0.0))
    MemoryFileSystem.store.clear()
    yield
    store.operations = SYSTEM
    MemoryFileSystem.store.clear()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return chats(tmp_path / "chats.jsonl")


def counting() -> Faulty:
    """Operations that work, and are counted."""
    store.operations = faulty = Faulty()
    return faulty


# --- what a user gets -------------------------------------------------------------------------------------------------


def test_the_bytes_are_those_of_a_local_run(data: Path, tmp_path: Path) -> None:
    """Every object is the file of a local output, the manifest but for its `run` block; nothing else is there."""
    log: list[str] = []
    assert pack(data, URL, "val_size=5", log=log.append).state == "written"
    pack(data, str(tmp_path / "local"), "val_size=5")
    assert objects(URL) == folder_objects(tmp_path / "local")
    assert problems(open_files(URL)) == []
    assert log[0] == f"prepared in {cache_folder(URL, '')}, then published to {URL}"
    assert log[1].startswith("publishing ")


@pytest.mark.slow
def test_the_bytes_are_those_of_a_ray_run(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the ray extra is not installed")
    pack(data, URL, "engine=ray", "workers=2")
    pack(data, str(tmp_path / "local"))
    assert objects(URL) == folder_objects(tmp_path / "local")


def test_nothing_changed_is_up_to_date(data: Path) -> None:
    """Seen from the manifest and one listing, on any machine: nothing is written, nothing is built."""
    pack(data, URL)
    counted = counting()
    assert pack(data, URL).state == "up to date"
    shutil.rmtree(cache_folder(URL, ""))
    again = pack(data, URL)
    assert again.state == "up to date"
    assert again.collected is None
    assert counted.done == []


@pytest.mark.parametrize("lost", ["train/data-00000-of-00001.arrow", "report.json", "manifest.json"])
def test_what_is_missing_is_sent_again_and_nothing_else(data: Path, lost: str) -> None:
    pack(data, URL, "shard_size=64000")
    want = objects(URL)
    del MemoryFileSystem.store[f"/bucket/sft/{lost}"]
    counted = counting()
    outcome = pack(data, URL, "shard_size=64000")
    assert outcome.state == "written"
    assert outcome.collected is None, "it was built again"
    assert [line for line in counted.done if line.startswith("send")] == (
        [] if lost == "manifest.json" else [f"send /bucket/sft/{lost}"]
    )
    assert objects(URL) == want


def test_other_settings_replace_the_output(data: Path, tmp_path: Path) -> None:
    """Objects of the old output are gone, what is the same stays as it is, files of the user's are left alone."""
    pack(data, URL, "val_size=5")
    MemoryFileSystem().pipe_file(f"{URL}/plots/mine.png", b"x")
    counted = counting()
    pack(data, URL, "shard_size=32000")
    pack(data, str(tmp_path / "local"), "shard_size=32000")
    assert objects(URL) == {**folder_objects(tmp_path / "local"), "plots/mine.png": b"x"}
    order = [line.replace("/bucket/sft/", "") for line in counted.done]
    assert order[2:4] == [f"write {JOURNAL}", "remove manifest.json"]
    assert "remove validation/state.json" in order[order.index("write manifest.json") :]
    assert order[-1] == f"remove {JOURNAL}"
    assert "send dataset_dict.json" in order  # without the validation split it is another one
    assert not any("rejects" in line for line in order)  # the same


def test_a_place_that_is_not_ours_is_refused(data: Path) -> None:
    MemoryFileSystem().pipe_file(f"{URL}/README.md", b"mine")
    MemoryFileSystem().pipe_file(f"{URL}/train/data.parquet", b"mine")
    with pytest.raises(UsageFault, match="was not written by prep"):
        pack(data, URL)
    assert set(objects(URL)) == {"README.md", "train/data.parquet"}


def test_a_foreign_manifest_is_not_taken_for_ours(data: Path) -> None:
    MemoryFileSystem().pipe_file(f"{URL}/manifest.json", b'{"name": "an app"}')
    with pytest.raises(UsageFault, match="was not written by prep"):
        pack(data, URL)


def test_a_second_run_to_the_same_url_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 75, and the message names the URL."""
    pack(data, URL)
    with locked(cache_folder(URL, "")), pytest.raises(BusyFault, match=f"^{URL}: another run"):
        pack(data, URL)


def test_no_cache_leaves_nothing_on_this_machine(data: Path) -> None:
    pack(data, URL, keep_cache=False)
    assert not cache_folder(URL, "").exists()
    assert is_whole(URL)
    pack(data, URL, "cutoff_len=50", "cache=false")
    assert not cache_folder(URL, "").exists()


def test_an_upload_that_failed_is_kept_even_without_a_cache(data: Path) -> None:
    """Hours of packing are not thrown away for a network that was down."""
    store.operations = Faulty("down", 5)
    with pytest.raises(MachineFault):
        pack(data, URL, keep_cache=False)
    store.operations = SYSTEM
    outcome = pack(data, URL, keep_cache=False)
    assert outcome.collected is None
    assert not cache_folder(URL, "").exists()


def test_a_short_trouble_is_waited_for(data: Path) -> None:
    store.operations = faulty = Faulty("once", 3)
    pack(data, URL)
    assert faulty.done[3] == faulty.done[4]
    assert problems(open_files(URL)) == []


def test_a_lasting_trouble_names_the_object_and_no_secret(data: Path) -> None:
    """Three tries, then exit 3; what a library says may hold a key, so it is not repeated."""
    store.operations = faulty = Faulty("down", 4)
    with pytest.raises(MachineFault) as caught:
        pack(data, URL)
    assert len(faulty.done) == 7
    assert caught.value.problems[0].startswith(faulty.done[4].replace("send /", "memory://"))
    assert "secret" not in str(caught.value)
    assert "goes on where it stopped" in caught.value.hint


def test_a_place_that_cannot_be_written_to_is_reported_before_the_work(data: Path) -> None:
    """A mistyped bucket or a missing permission: nothing was built yet."""
    store.operations = Faulty("refused", 0)
    with pytest.raises(MachineFault, match="PermissionError"):
        pack(data, URL)
    assert not list((cache_folder(URL, "") / CACHE).glob("chunks/*"))


def test_credentials_are_shown_nowhere(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "filesystem", lambda url: (MemoryFileSystem(), "/bucket/sft"))
    log: list[str] = []
    outcome = pack(data, "s3://user:hunter2@bucket/sft", log=log.append)
    everything = [*raw(URL).values(), *(line.encode() for line in log), outcome.shown.encode()]
    assert not any(b"hunter2" in part for part in everything)
    folder = cache_folder("s3://user:hunter2@bucket/sft", "")
    assert folder == cache_folder("s3://bucket/sft/", "")
    assert not any(b"hunter2" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_changed_staging_folder_is_not_published(data: Path) -> None:
    """A file that went bad on this disk is found before it is sent, and made anew."""
    store.operations = Faulty("down", 3)
    with pytest.raises(MachineFault):
        pack(data, URL)
    store.operations = SYSTEM
    shard = next((cache_folder(URL, "") / "train").glob("*.arrow"))
    before = shard.stat()
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))  # as rot on the disk leaves it
    with pytest.raises(MachineFault, match="has changed since it was written"):
        pack(data, URL)
    assert readable(URL) is None
    pack(data, URL)
    assert problems(open_files(URL)) == []


def test_a_folder_behind_another_file_system(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system with real folders serves as well."""
    monkeypatch.setattr(store, "filesystem", lambda url: (LocalFileSystem(auto_mkdir=True), str(tmp_path / "far")))
    pack(data, "s3://bucket/sft", "val_size=5")
    pack(data, "s3://bucket/sft")
    pack(data, str(tmp_path / "local"))
    assert folder_objects(tmp_path / "far") == folder_objects(tmp_path / "local")


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("https://host/sft", 2, "a web server takes no files"),
        ("hf://datasets/org/sft", 2, "a commit of its own"),
        ("ftp://host/sft", 2, "ftp:// is not"),
        ("simplecache::s3://bucket/sft", 2, "chained"),
    ],
)
def test_what_cannot_be_written_to(
    data: Path, url: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"dataset={data}", "model_name_or_path=fixtures/tiny", "template=qwen3", "-o", url]
    assert run(["pack", *words]) == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs")])
def test_a_missing_package_is_named(
    data: Path, protocol: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    words = [f"dataset={data}", "model_name_or_path=fixtures/tiny", "template=qwen3", "-o", f"{protocol}://bucket/x"]
    assert run(["pack", *words]) == 3
    assert f"pip install {package}" in capsys.readouterr().err


# --- whatever fails ---------------------------------------------------------------------------------------------------


class Outputs:
    """Three built outputs, each in a staging folder of its own, as if three machines had built them."""

    def __init__(self, place: Path) -> None:
        data = chats(place / "chats.jsonl")
        choices = ((), ("val_size=5", "cutoff_len=48"), ("shard_size=8000",))
        self.folders = [place / f"machine{number}" for number in range(len(choices))]
        for folder, words in zip(self.folders, choices, strict=True):
            pack(data, str(folder), *words)
        self.wanted = [folder_objects(folder) for folder in self.folders]
        self.digests = [json.loads((folder / "manifest.json").read_bytes())["sha256"] for folder in self.folders]

    def forget(self) -> None:
        """No machine remembers what it has sent."""
        for folder in self.folders:
            (folder / CACHE / SENT).unlink(missing_ok=True)

    def publish(self, number: int, mode: str = "", at: int = -1) -> Faulty:
        """One machine publishes its output; a failure is what a user would see of it."""
        store.operations = faulty = Faulty(mode, at)
        remote = RemoteOutput(URL, lambda line: None)
        remote.folder = self.folders[number]
        try:
            remote.publish()
        except (MachineFault, Killed):
            pass
        finally:
            store.operations = SYSTEM
        return faulty

    def check(self) -> int | None:
        """Which output a reader finds. A manifest that can be read is one of ours, and every file is as it says."""
        digest = readable(URL)
        if digest is None:
            return None
        number = self.digests.index(digest)
        assert is_whole(URL)
        assert self.wanted[number].items() <= objects(URL).items()
        return number


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return Outputs(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(params=["plain", "tagged"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store that lists sizes only, and one that lists digests as well."""
    if request.param == "tagged":
        monkeypatch.setattr(store, "filesystem", lambda url: (Tagged(), "/bucket/sft"))
    return str(request.param)


@pytest.mark.parametrize("old", [None, 1, 2])
def test_every_call_that_fails(outputs: Outputs, kind: str, old: int | None) -> None:
    """Each changing call of a publication, in each mode: a reader finds the old output, none, or the new one. Started
    again, here or on another machine, it ends with exactly the new one, without sending what had arrived."""
    outputs.forget()
    if old is not None:
        outputs.publish(old)
    before = raw(URL)
    calls = len(outputs.publish(0).done)
    assert outputs.check() == 0
    tries = 0
    for mode in MODES:
        for at in range(calls):
            outputs.forget()
            put(URL, before)
            faulty = outputs.publish(0, mode, at)
            what = f"{mode} at {faulty.done[at]}"
            found = outputs.check()
            assert found in (None, old, 0), what
            if mode == "once":
                assert found == 0, what
            arrived = {line for line in faulty.done[:at] if line.startswith("send")}
            again = outputs.publish(0)
            assert objects(URL) == outputs.wanted[0], what
            assert not arrived & set(again.done), what
            tries += 1
    assert tries > 50


step = st.tuples(st.integers(0, 2), st.sampled_from(["", *MODES]), st.integers(0, 14))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, min_size=1, max_size=6), last=st.integers(0, 2))
def test_any_run_of_failures_ends_well(
    outputs: Outputs, kind: str, steps: list[tuple[int, str, int]], last: int
) -> None:
    """Three machines publish in turn, each failing somewhere: after every step a reader finds a whole output or none,
    and one run without a failure leaves exactly its own objects."""
    outputs.forget()
    MemoryFileSystem.store.clear()
    for number, mode, at in steps:
        outputs.publish(number, mode, at)
        outputs.check()
    outputs.publish(last)
    assert outputs.check() == last
    assert objects(URL) == outputs.wanted[last]


def test_the_loop_can_fail(outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a publication that leaves the old manifest in place is found out."""
    outputs.forget()
    outputs.publish(1)
    real = store.Store.remove
    monkeypatch.setattr(store.Store, "remove", lambda self, name: name == "manifest.json" or real(self, name))
    outputs.publish(0, "kill", 6)
    with pytest.raises(AssertionError):
        outputs.check()


def test_two_machines_at_once_are_found_before_the_manifest(outputs: Outputs, kind: str) -> None:
    """Another machine's shard under the same name, written while we publish."""
    outputs.forget()
    shard = next(name for name in outputs.wanted[0] if name.startswith("train/") and name.endswith(".arrow"))

    class Meddling(Faulty):
        def send(self, system: Any, source: str, path: str) -> None:
            super().send(system, source, path)
            if path.endswith("state.json"):  # the last one
                MemoryFileSystem().pipe_file(f"{URL}/{shard}", outputs.wanted[0][shard][:-1] + b"?")

    store.operations = Meddling()
    remote = RemoteOutput(URL, lambda line: None)
    remote.folder = outputs.folders[0]
    if kind == "plain":
        remote.publish()
        assert problems(open_files(URL)) == [f"{shard}: its content has changed (sha256 differs)"]
        return
    with pytest.raises(MachineFault, match="was changed while this run was publishing"):
        remote.publish()
    assert readable(URL) is None
    store.operations = SYSTEM
    remote.publish()
    assert objects(URL) == outputs.wanted[0]


def test_a_hostile_journal_removes_nothing_of_the_users(data: Path) -> None:
    """Names in a journal are taken for prep's own only where prep writes."""
    put("memory://bucket", {"secret.txt": b"s", "sft/notes/a.txt": b"n"})
    names = ["../secret.txt", "/bucket/secret.txt", "notes/a.txt", "train/../notes/a.txt"]
    document = {"schema_version": 1, "files": names}
    MemoryFileSystem().pipe_file(f"{URL}/{JOURNAL}", json.dumps(document, separators=(",", ":")).encode())
    pack(data, URL)
    assert raw("memory://bucket")["secret.txt"] == b"s"
    assert objects(URL)["notes/a.txt"] == b"n"
    assert JOURNAL not in objects(URL)


def test_normal_hides_nothing_but_the_run_block() -> None:
    """The comparison of this file can fail."""
    one, two = (json.dumps({"rows": rows, "run": {"seconds": rows}}).encode() for rows in (1, 2))
    assert normal("manifest.json", one) != normal("manifest.json", two)
