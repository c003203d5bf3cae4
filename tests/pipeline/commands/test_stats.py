"""`prep stats`: its figures are those of the manifest and of the records themselves."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import prep
from pipeline.config import load_config
from pipeline.output.ledger import spread
from pipeline.runs.pack.run import prepare

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "fixtures" / "demo"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The demo, packed so tight that much is cut."""
    out = tmp_path_factory.mktemp("made") / "out"
    config = load_config(str(DEMO / "sft.yaml"), ["cutoff_len=72"], for_command="pack")
    return out, prepare(config, out, lambda line: None).manifest


def run(*words: str) -> str:
    result = CliRunner().invoke(prep, ["stats", *words], catch_exceptions=False, standalone_mode=False)
    return result.stdout


def test_figures_are_those_of_the_manifest(made: tuple[Path, dict[str, Any]]) -> None:
    """Totals, and each source's records, examples and tokens, are the ledger's to the token."""
    out, manifest = made
    told = json.loads(run(str(out), "--json"))
    sources = manifest["ledger"].pop("sources")
    assert told["ledger"] == manifest["ledger"]
    for name, ledger in sources.items():
        figures = told["sources"][name]
        for key in ("examples", "tokens", "trained_tokens"):
            assert figures[key] == ledger[key]
        assert figures["records"] == ledger["read"]
    assert sum(told["sources"][name]["turns"] for name in sources) == told["all"]["turns"]


def test_lengths_are_those_before_the_cut(made: tuple[Path, dict[str, Any]]) -> None:
    """Mean times examples is what came in, and both histograms hold every example."""
    out, manifest = made
    told = json.loads(run(str(out), "--json"))
    examples = manifest["ledger"]["examples"]
    assert round(told["all"]["tokens_of_an_example"]["mean"] * examples) == pytest.approx(
        manifest["ledger"]["tokens_in"], abs=examples
    )
    segments = told["halves"]
    assert segments["prompt"]["tokens"] + segments["answer"]["tokens"] == manifest["ledger"]["tokens_in"]
    assert segments["prompt"]["kept_tokens"] + segments["answer"]["kept_tokens"] == manifest["ledger"]["tokens"]
    assert segments["prompt"]["masked"] == segments["prompt"]["count"]
    for histogram in told["histograms"].values():
        assert sum(count for _, _, count in histogram) == examples


def test_a_configuration_shows_what_packing_it_would_show(made: tuple[Path, dict[str, Any]]) -> None:
    """`prep stats CONFIG` is `prep stats OUT` of the same settings, and leaves nothing behind."""
    before = set(Path(tempfile.gettempdir()).glob("prep-*"))
    told = json.loads(run(str(DEMO / "sft.yaml"), "cutoff_len=72", "--json"))
    packed = json.loads(run(str(made[0]), "--json"))
    del told["target"], packed["target"]
    assert told == packed
    assert set(Path(tempfile.gettempdir()).glob("prep-*")) <= before


def test_the_text_fits_80_columns(made: tuple[Path, dict[str, Any]]) -> None:
    """Tables and bars do not wrap on a terminal of 80 columns, and the present cutoff is marked."""
    text = run(str(made[0]), "--tokens-per-s", "3000")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert re.search(r"^> +72 ", text, re.MULTILINE)
    assert "suggested: cutoff_len=" in text


def test_steps_and_hours_follow_from_the_speed(made: tuple[Path, dict[str, Any]]) -> None:
    """Steps are rows by batch by epochs, GPU-hours are tokens by speed."""
    out, manifest = made
    words = ["--tokens-per-s", "100", "--gpus", "4", "--epochs", "3", "--batch", "8", "--json"]
    told = json.loads(run(str(out), *words))["estimate"]
    train = manifest["splits"]["train"]
    mine = next(row for row in told if row["cutoff_len"] == 72)
    assert mine["steps"] == -(-train["rows"] // 8) * 3
    assert mine["tokens"] == train["tokens"] * 3
    assert mine["gpu_hours"] == pytest.approx(train["tokens"] * 3 / 100 / 3600, abs=1e-3)
    assert mine["hours"] == pytest.approx(mine["gpu_hours"] / 4, abs=1e-3)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60))
def test_percentiles_are_values_that_occur(values: list[int]) -> None:
    """Nearest rank: each percentile is one of the values, and they ascend."""
    told = spread(np.array(values))
    found = [told["min"], told["p50"], told["p90"], told["p95"], told["p99"], told["max"]]
    assert found == sorted(found)
    assert set(found) <= set(values)
    assert sum(value <= told["p50"] for value in values) * 2 >= len(values)


def test_settings_beside_an_output_are_refused(made: tuple[Path, dict[str, Any]]) -> None:
    """A finished output has its settings; the user is told what to give instead."""
    from pipeline.cli import run as main

    assert main(["stats", str(made[0]), "cutoff_len=8"]) == 2
    assert main(["stats", str(made[0] / "nothing")]) == 2
    assert main(["stats"]) == 2
