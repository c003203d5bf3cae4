"""`prep report`: the page is written whole or not at all, and never over the output that it shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.cli import run
from tests.support.packed_outputs import TINY, demo_output
from tests.support.training import write_manifest


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A packed demo of one's own."""
    return Path(shutil.copytree(demo_output("cutoff_len=100"), tmp_path / "out"))


def test_a_page_is_written_beside_the_output_by_its_name(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(out.parent)
    assert run(["report", "out"]) == 0
    assert capsys.readouterr().out.startswith("out.html: ")
    assert (out.parent / "out.html").read_text(encoding="utf-8").endswith("</html>\n")


def test_the_json_document_says_what_was_written(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "sub" / "page.html"
    assert run(["report", str(out), "-o", str(target), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(target) and told["bytes"] == target.stat().st_size and told["samples"] > 0


def test_without_its_tokenizer_the_page_has_no_samples(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is said; one that is given and not there is a mistake."""
    path = out / "manifest.json"
    written = path.read_text().replace(str(TINY), "/nowhere").replace("fixtures/tiny", "/nowhere")
    write_manifest(out, json.loads(written))
    target = tmp_path / "page.html"
    assert run(["report", str(out), "-o", str(target), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["samples"] == 0
    assert "the page is without samples" in said.err and "--tokenizer DIR" in said.err
    target.unlink()
    assert run(["report", str(out), "-o", str(target), "--tokenizer", str(tmp_path / "none")]) == 2
    assert not target.exists()


@pytest.mark.parametrize("target", ["", "out/manifest.json", "out/train/page.html"])
def test_nothing_is_written_into_the_output_or_over_a_folder(target: str, out: Path) -> None:
    before = (out / "manifest.json").read_bytes()
    assert run(["report", str(out), "-o", str(out.parent / target)]) == 2
    assert (out / "manifest.json").read_bytes() == before


def test_what_is_no_output_is_the_users_mistake(tmp_path: Path) -> None:
    assert run(["report", str(tmp_path)]) == 2
