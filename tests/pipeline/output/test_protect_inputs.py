"""Nothing that prep writes where the user says takes the place of an input, or of a part of an output."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.output.protect_inputs import marks


@pytest.fixture
def packed(fixtures: Path, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with in.jsonl, the output `out` made of it, and a working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(fixtures / "demo" / "alpaca.jsonl", "in.jsonl")
    shutil.copytree(tiny, "model")
    words = ["dataset=in.jsonl", "model_name_or_path=model", "template=default", "--workers", "1", "--quiet"]
    assert run(["pack", *words, "-o", "out"]) == 0
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder; links as the file that they lead to."""
    return {os.fspath(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def by_name(path: Path) -> str:
    return os.fspath(path)


def by_detour(path: Path) -> str:
    return f"{path.parent}/./out/../{path.name}"


def by_symlink(path: Path) -> str:
    link = path.with_name("link.html")
    link.symlink_to(path)
    return os.fspath(link)


def by_hard_link(path: Path) -> str:
    link = path.with_name("link.html")
    os.link(path, link)
    return os.fspath(link)


@pytest.mark.parametrize("way", [by_name, by_detour, by_symlink, by_hard_link])
def test_a_page_never_replaces_the_input(
    way: Callable[[Path], str], packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However the input is named, also through links; exit 2, and every byte stays."""
    target = way(packed / "in.jsonl")
    before = contents(packed)
    assert run(["report", "out", "-o", target]) == 2
    assert "never writes to its input" in capsys.readouterr().err
    assert contents(packed) == before


def test_a_page_never_replaces_the_input_of_an_output_that_is_named_from_elsewhere(
    packed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest's `in.jsonl` is another file there, so the content tells."""
    (packed / "elsewhere").mkdir()
    monkeypatch.chdir(packed / "elsewhere")
    before = contents(packed)
    assert run(["report", "../out", "-o", "../in.jsonl"]) == 2
    assert "what an input of ../out holds" in capsys.readouterr().err
    assert contents(packed) == before


@pytest.mark.parametrize(
    "target",
    ["out/manifest.json", "out/README.md", "out/train/data-00000-of-00001.arrow", "out/.cache/page.html", "out/train/x",
     "model/tokenizer.json", "out"],
)  # fmt: skip
def test_a_page_never_replaces_a_part_of_the_output_or_its_tokenizer(target: str, packed: Path) -> None:
    before = contents(packed)
    assert run(["report", "out", "-o", target]) == 2
    assert contents(packed) == before


def test_a_page_may_lie_in_the_output_beside_its_files_and_in_a_new_folder(packed: Path) -> None:
    for target in ("out/page.html", "new/deep/page.html", "page.html", "page.html"):
        assert run(["report", "out", "-o", target, "--quiet"]) == 0
        assert Path(target).read_bytes().startswith(b"<!")
    assert run(["verify", "out"]) == 0


def test_a_page_in_what_is_a_file_is_the_users_mistake(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "out", "-o", "in.jsonl/page.html"]) == 2
    assert "in.jsonl is a file, not a folder" in capsys.readouterr().err


@pytest.fixture
def chats(fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with in.jsonl, and a dataset_info.json that describes it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(fixtures / "demo" / "sharegpt.jsonl", "in.jsonl")
    Path("dataset_info.json").write_text('{"mine": {"file_name": "in.jsonl", "formatting": "sharegpt"}}')
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "in.jsonl"], ["-o", "z.jsonl", "--report", "in.jsonl"], ["-o", "z.jsonl", "--report", "./in.jsonl"],
        ["-o", "z.jsonl", "--report", "z.jsonl"], ["-o", "z.json", "--report", "new/../z.json"],
        ["-o", "z.jsonl", "--report", "dataset_info.json"], ["-o", "dataset_info.json"],
        ["-o", "z.jsonl", "--report", "."], ["-o", "z.jsonl", "--rejects", "in.jsonl"],
        ["-o", "z.jsonl", "--report", "rr/00-z.jsonl", "--rejects", "rr"],
    ],
)  # fmt: skip
def test_a_conversion_never_writes_to_what_it_reads_nor_twice_to_one_file(words: list[str], chats: Path) -> None:
    before = contents(chats)
    assert run(["convert", "sharegpt:openai", "in.jsonl", *words]) == 2
    assert contents(chats) == before


def test_a_conversion_makes_the_folders_of_its_output_and_report(chats: Path) -> None:
    assert run(["convert", "sharegpt:openai", "in.jsonl", "-o", "a/z.jsonl", "--report", "b/c/lost.json"]) == 0
    assert Path("a/z.jsonl").exists() and Path("b/c/lost.json").exists()


def test_marks_tell_files_apart(tmp_path: Path) -> None:
    """Equal content is not the same file; a name that is not there is known by its place."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("x")
    other.write_text("x")
    assert not marks(one) & marks(other)
    assert marks(tmp_path / "new") & marks(f"{tmp_path}/./new")
