"""Whatever stands in a configuration, a dataset_info.json or a tokenizer folder, and whichever package is missing: a
command ends with what is wrong, in time, never with an internal error.

A few seeds in the suite; hundreds with `-m slow`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.config.keys import Key, keys
from pipeline.installation import CORE, EXTRAS
from tests.support.attempts import Attempt, attempt, faults
from tests.support.hostile_inputs import DATA, TINY, TRIALS, json_config
from tests.support.key_values import ODD, ODD_JSON, no_such

BASE = (
    f"dataset={DATA}/alpaca_sft.json",
    f"model_name_or_path={TINY}",
    "template=qwen3",
    "train_from_scratch=true",
    "workers=1",
    "cutoff_len=128",
    "max_samples=2",
    "output_dir=run",
)
READ = [key for key in keys().values() if key.status in ("used", "train")]
OUT = "tokenized_path"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Odd values name files: they are looked for, and perhaps made, where nothing else is."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


# --- damaged files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TRIALS)
def test_a_few_damaged_files(kind: str, tmp_path: Path) -> None:
    assert not faults(tried(kind, range(6), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRIALS)
def test_four_hundred_damaged_files(kind: str, tmp_path: Path) -> None:
    assert not faults(tried(kind, range(400), tmp_path))


def tried(kind: str, numbers: range, folder: Path) -> list[Attempt]:
    """Every command over every damaged file."""
    return [attempt(*words) for number in numbers for words in TRIALS[kind](folder / str(number), number)]


# --- keys -------------------------------------------------------------------------------------------------------------


def refused(key: Key, commands: Sequence[tuple[str, ...]]) -> list[str]:
    """The wrong values of a key that a command takes, or does not name in one line."""
    found = []
    for value in no_such(key):
        for words in commands:
            one = attempt(*words, *BASE, f"{key.name}={value}")
            lines = [line for line in one.err.splitlines() if line.startswith("prep: ") and key.name in line]
            if one.code != 2 or len(lines) != 1 or one.fault():
                found.append(f"{words[0]} {key.name}={value[:40]!a}: exit {one.code}: {one.err[:300]}")
    return found


def commands_for(key: Key) -> list[tuple[str, ...]]:
    """The commands that read a key; `dry_run` itself is given as a value alone."""
    train = ("train",) if key.name == "dry_run" else ("train", "--dry-run")
    return [train, ("pack",) if key.name == OUT else ("pack", "-o", "out")]


@pytest.mark.parametrize("key", READ[::16], ids=lambda key: key.name)
def test_a_value_that_a_key_cannot_have_is_named_in_one_line(key: Key) -> None:
    assert not refused(key, commands_for(key))


@pytest.mark.slow
@pytest.mark.parametrize("key", READ, ids=lambda key: key.name)
def test_every_wrong_value_of_every_key(key: Key) -> None:
    assert not refused(key, commands_for(key))


@pytest.mark.slow
@pytest.mark.parametrize("key", keys().values(), ids=lambda key: key.name)
def test_odd_values_of_every_key_lead_to_no_internal_error(key: Key) -> None:
    """Of the words that a key may take, in training and prediction; of JSON values, in packing as well."""
    done = [
        attempt(command, "--dry-run", *BASE, f"{OUT}=out", f"{key.name}={value}")
        for value in ODD
        for command in ("train", "predict")
    ]
    for number, value in enumerate(ODD_JSON):
        name = json_config(number, [*BASE, f"{OUT}=out{number}"], key.name, value)
        done += [attempt("train", "--dry-run", name), attempt("pack", name)]
    assert not faults(done)


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in READ if key.affects in ("rows", "run")], ids=lambda key: key.name)
def test_odd_values_of_every_key_that_packing_reads(key: Key) -> None:
    pairs = enumerate(ODD)
    assert not faults([attempt("pack", *BASE, f"{OUT}=out{number}", f"{key.name}={value}") for number, value in pairs])


# --- packages ---------------------------------------------------------------------------------------------------------

OPTIONAL = [name.replace("-", "_") for names in EXTRAS.values() for name in names]


def without(package: str, *words: str) -> Attempt:
    """A command where a package is not installed."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.without_package", package, *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    return Attempt((package, *words), run.returncode, run.stdout, run.stderr, 0.0)


@pytest.mark.parametrize("package", ["torch", "click", "yaml"])
def test_a_missing_package_is_named_or_not_needed(package: str) -> None:
    one = without(package, "train", "--dry-run", *BASE)
    assert not one.fault()
    assert one.code == (3 if package in CORE else 0), one.err


@pytest.mark.slow
@pytest.mark.parametrize("package", CORE)
def test_every_package_that_prep_needs_missing(package: str) -> None:
    trials = [
        ["validate", f"{DATA}/alpaca_sft.json", "--workers", "1"],
        ["pack", *BASE, f"{OUT}=rows"],
        ["train", "--dry-run", *BASE],
        ["list", "templates"],
        ["doctor"],
    ]
    assert not faults([without(package, *words) for words in trials])


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("package", OPTIONAL)
def test_every_optional_package_missing(package: str, tiny_model: Path) -> None:
    """Also while training, predicting and exporting for real, where most of them are imported."""
    base = [word for word in BASE if "model_name" not in word] + [f"model_name_or_path={tiny_model}", "use_cpu=true"]
    trials = [
        ["train", "--dry-run", *base, "deepspeed=z2"],
        ["predict", "--dry-run", *base],
        ["predict", *base, f"{OUT}=prompts", "max_new_tokens=2"],
        ["report", "prompts"],
        ["export", f"model_name_or_path={tiny_model}", "export_dir=merged"],
        ["train", *base, f"{OUT}=rows", "max_steps=1", "plot_loss=true", "report_to=none"],
        ["doctor"],
    ]
    assert not faults([without(package, *words) for words in trials])
