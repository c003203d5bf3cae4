"""prep says its version from a source tree too, and a package that is not installed is named, not called a bug."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pipeline import installation
from pipeline.installation import CORE, EXTRAS, install_command, missing_package, prep_version

ROOT = Path(__file__).parents[2]
DEMO = "fixtures/demo/alpaca.jsonl"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# for prep and for every process that it starts: a package that is not there, or no metadata of any distribution
HIDING = """
import importlib.metadata, os, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == os.environ.get("HIDDEN_PACKAGE"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())

if os.environ.get("HIDDEN_METADATA"):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)
    importlib.metadata.version = version
"""


def prep(words: list[str], folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(HIDING, encoding="utf-8")
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *words],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path, **environ},
    )  # fmt: skip


@pytest.mark.parametrize("word", ["--version", "version", "-V"])
def test_a_source_tree_that_is_not_installed_has_a_version(word: str, tmp_path: Path) -> None:
    done = prep([word], tmp_path, HIDDEN_METADATA="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"prep, version {PYPROJECT['version']}\n"


def test_the_version_needs_no_other_package(tmp_path: Path) -> None:
    done = prep(["--version"], tmp_path, HIDDEN_PACKAGE="yaml")
    assert (done.returncode, done.stdout) == (0, f"prep, version {prep_version()}\n")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("click", ["--version"]),
        ("yaml", ["list", "rules"]),
        ("orjson", ["validate", DEMO]),
        ("jsonschema_rs", ["validate", DEMO]),
        ("xxhash", ["validate", DEMO, "--workers", "2"]),
        ("numpy", ["pack", "fixtures/demo/sft.yaml", "-o", "OUT"]),
        ("pyarrow", ["pack", "fixtures/demo/sft.yaml", "-o", "OUT"]),
        ("tokenizers", ["pack", "fixtures/demo/sft.yaml", "-o", "OUT"]),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    module: str, words: list[str], tmp_path: Path
) -> None:
    words = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    done = prep(words, tmp_path, HIDDEN_PACKAGE=module)
    name = CORE[module]
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"prep: {name} is not installed, and prep needs it: python -m pip install {name}"
    )
    assert "Traceback" not in done.stderr and "bug" not in done.stderr


def test_the_tables_are_those_of_the_project() -> None:
    def names(lines: list[str]) -> set[str]:
        return {re.split(r"[<>=!~ ]", line)[0] for line in lines}

    assert set(CORE.values()) == names(PYPROJECT["dependencies"])
    for extra, distributions in EXTRAS.items():
        assert set(distributions) == names(PYPROJECT["optional-dependencies"][extra])


def test_a_package_of_an_extra_names_the_extra() -> None:
    fault = missing_package(ModuleNotFoundError("No module named 'rouge_score.x'", name="rouge_score.x"))
    assert fault is not None and fault.hint.startswith("python -m pip install ") and "metrics]" in fault.hint


def test_from_a_source_folder_the_command_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert install_command("train") == 'python -m pip install -e ".[train]"'
    assert install_command() == "python -m pip install -e ."
    monkeypatch.chdir(tmp_path)
    assert install_command("train") == f'python -m pip install -e "{ROOT}[train]"'


def test_without_one_the_command_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """prep is on no index, so its own name with an extra would not be found."""
    monkeypatch.setattr(installation, "HOME", tmp_path)
    lines = ["click>=8.1", 'torch>=2.6; extra == "train"', "trl<1.17,>=1.16; extra == 'train'"]
    monkeypatch.setattr(installation.importlib.metadata, "requires", lambda name: lines)
    assert install_command("train") == 'python -m pip install "torch>=2.6" "trl<1.17,>=1.16"'
    assert install_command() == 'python -m pip install "click>=8.1"'

    def none(name: str) -> list[str]:
        raise installation.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation.importlib.metadata, "requires", none)
    assert install_command("ray") == 'python -m pip install "ray"'


def test_a_package_that_a_library_could_not_import_is_named() -> None:
    """transformers raises an error of its own, without a name, from the one that tells it."""
    outer = ModuleNotFoundError("Could not import module 'TrainerCallback'.")
    outer.__cause__ = ModuleNotFoundError("No module named 'accelerate'", name="accelerate")
    fault = missing_package(outer)
    assert fault is not None
    assert fault.problems == ("accelerate is not installed",)
    assert missing_package(ModuleNotFoundError("no name")) is None
    needed = missing_package(ModuleNotFoundError("No module named 'huggingface_hub'", name="huggingface_hub.utils"))
    assert needed is not None and "pip install" in needed.hint


def test_another_error_is_no_missing_package() -> None:
    assert missing_package(ModuleNotFoundError("No module named 'ours'", name="ours")) is None
    assert missing_package(ValueError("No module named 'numpy'")) is None
