"""What `inspect` and `stats` look at: an output, or a configuration; everything else is named for what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import prep
from pipeline.inspect.open_target import open_shards, opened
from pipeline.output.shards import Shards
from registry.errors import UsageFault
from tests.support.packed_outputs import DEMO, TINY, demo_output


@pytest.fixture(scope="module")
def demo() -> Path:
    """The demo, packed, with some records cut."""
    return demo_output("cutoff_len=100")


@click.command(params=[click.Option(["--limit"])])
def inspect() -> None:
    """A command with one option."""


def test_a_tokenizer_that_is_gone_or_another_one(demo: Path, tmp_path: Path) -> None:
    """Without its tokenizer a row has no text: the option is named. With another one its text may be wrong."""
    manifest = json.loads((demo / "manifest.json").read_text(encoding="utf-8"))
    other = tmp_path / "tokenizer"
    other.mkdir()
    raw = json.loads((TINY / "tokenizer.json").read_text(encoding="utf-8"))
    (other / "tokenizer.json").write_text(json.dumps(raw | {"version": "1.0 "}), encoding="utf-8")
    result = CliRunner().invoke(prep, ["inspect", str(demo), "--tokenizer", str(other)], standalone_mode=False)
    assert "sha256 differs" in result.output
    from pipeline.inspect.open_target import token_texts
    from registry.errors import UsageFault

    manifest["run"]["model_name_or_path"] = "/nowhere"
    with pytest.raises(UsageFault, match="nowhere") as caught:
        token_texts(Shards(demo, manifest), None, lambda line: None)
    assert "--tokenizer" in caught.value.hint


def test_a_folder_is_opened_as_it_is(demo: Path) -> None:
    with opened([str(demo)], print, inspect) as target:
        assert target.shards.out == demo
        assert (target.name, target.config) == (str(demo), None)


def test_a_configuration_is_prepared_aside_and_leaves_nothing() -> None:
    words = [str(DEMO / "sft.yaml"), "cutoff_len=100"]
    with opened(words, lambda line: None, inspect) as target:
        folder = target.shards.out
        assert target.config is not None and target.shards.manifest["cutoff_len"] == 100
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "nothing to look at"),
        (["OUT", "cutoff_len=8"], "settings change nothing"),
        (["OUT", "--limti", "3"], "there is no option --limti"),
        (["nowhere"], "no such output folder"),
        (["OUT/manifest.json"], "is a file; name the folder"),
        (["DATA"], "is a file; name an output folder"),
    ],
)
def test_what_cannot_be_shown_is_said(words: list[str], problem: str, demo: Path, tmp_path: Path) -> None:
    out = shutil.copytree(demo, tmp_path / "out")
    data = tmp_path / "a.jsonl"
    data.write_text("{}\n")
    words = [word.replace("OUT", str(out)).replace("DATA", str(data)) for word in words]
    with pytest.raises(UsageFault, match=problem), opened(words, lambda line: None, inspect):
        pass


def test_a_folder_that_is_no_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match=r"manifest\.json"):
        open_shards(str(tmp_path))
