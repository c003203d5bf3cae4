"""A finished build replaces the old output whole; one run at a time holds it, and nobody else's folder is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.output.manifest import BUILD, CACHE, LOCK, MANIFEST, OWNER, dump
from pipeline.output.publish import clean, locked, new_build, open_output, publish
from registry.errors import BusyFault, MachineFault, UsageFault
from stages.core import atomic_io
from tests.support.faults import Faulty


def build_of(out: Path, text: str, *names: str) -> Path:
    """A build with a manifest and one file in each of the named splits."""
    build = new_build(out)
    for name in names or ("train",):
        (build / name).mkdir()
        (build / name / "data.arrow").write_text(text)
    splits = {name: {"shards": []} for name in names or ("train",)}
    (build / MANIFEST).write_bytes(dump({"schema_version": 1, "kind": "lm", "splits": splits}))
    return build


def published(out: Path, text: str, *names: str) -> str:
    open_output(out)
    with locked(out):
        return publish(build_of(out, text, *names), out)


@pytest.fixture(params=["exchange", "no exchange"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two file systems: one that lets two folders change places in a call, and one that does not."""
    if request.param == "no exchange":
        monkeypatch.setattr(atomic_io, "operations", Faulty(lacks="exchange"))


def test_a_new_output_takes_the_place_of_the_old_one_and_foreign_files_stay(tmp_path: Path, system: None) -> None:
    out = tmp_path / "out"
    assert published(out, "old", "train", "mine") == ""
    (out / "notes.txt").write_text("theirs")
    (out / CACHE / "kept.cache").write_text("ids")
    assert published(out, "new") == ""
    assert (out / "train" / "data.arrow").read_text() == "new"
    assert not (out / "mine").exists(), "a split that the new output does not have"
    assert ((out / "notes.txt").read_text(), (out / CACHE / "kept.cache").read_text()) == ("theirs", "ids")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out"]
    assert not list((out / CACHE).glob(f"{BUILD}*"))


def test_a_second_run_is_reported_who_holds_the_output(tmp_path: Path) -> None:
    open_output(tmp_path / "out")
    with locked(tmp_path / "out"):
        with pytest.raises(BusyFault, match=r"another run holds this output \(process \d+\)"), locked(tmp_path / "out"):
            pass
        published_inside = (tmp_path / "out" / CACHE / OWNER).exists()
    assert published_inside
    with locked(tmp_path / "out"):
        pass


@pytest.mark.parametrize("what", ["file", "folder", "url"])
def test_what_is_not_ours_is_refused(tmp_path: Path, what: str) -> None:
    out = tmp_path / "out"
    if what == "file":
        out.touch()
    elif what == "folder":
        out.mkdir()
        (out / "thesis.tex").touch()
    else:
        out = Path("s3:/bucket/x")
    with pytest.raises(UsageFault) as caught:
        open_output(out)
    assert {"file": "is a file", "folder": "it holds thesis.tex", "url": "neither a folder nor a URL"}[
        what
    ] in caught.value.problems[0]


def test_what_a_killed_run_left_is_tidied_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    published(out, "old")
    (out / CACHE / f"{BUILD}dead").mkdir()
    (out / CACHE / f"a.cache.1234{atomic_io.TEMPORARY}").touch()
    with locked(out):
        assert sorted(entry.name for entry in (out / CACHE).iterdir()) == [LOCK, OWNER]
    assert (out / "train" / "data.arrow").read_text() == "old"


def test_without_a_cache_nothing_but_the_output_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    published(out, "new")
    clean(out, keep_cache=False)
    assert sorted(entry.name for entry in out.iterdir()) == [MANIFEST, "train"]
    open_output(tmp_path / "empty")
    clean(tmp_path / "empty", keep_cache=False)
    assert not (tmp_path / "empty").exists(), "a run that ended before it wrote anything"


def test_a_disk_that_says_no_leaves_the_old_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    published(out, "old")
    with locked(out):
        build = build_of(out, "new")
        monkeypatch.setattr(atomic_io, "operations", Faulty("EIO", 0))
        with pytest.raises(MachineFault):
            publish(build, out)
    assert (out / "train" / "data.arrow").read_text() == "old"
