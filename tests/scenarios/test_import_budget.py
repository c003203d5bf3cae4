"""The house rules that a machine can hold: who may import whom, and what a light command may load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "registry", "stages", "pipeline")  # each may import those before it
HEAVY = {
    "torch", "transformers", "datasets", "trl", "peft", "accelerate", "deepspeed", "numpy", "pyarrow", "polars",
    "pandas", "tokenizers", "fastokens", "gigatoken", "jinja2", "rich", "matplotlib", "ray",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, absolute imports only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    """pipeline -> stages -> registry -> schemas, and never back."""
    above = set(PACKAGES[PACKAGES.index(package) + 1 :])
    wrong = {str(path): imported(path) & above for path in (ROOT / package).rglob("*.py") if imported(path) & above}
    assert not wrong


def loaded_by(code: str) -> set[str]:
    """Top-level modules that are loaded once `code` has run in a fresh interpreter."""
    script = f"import sys\n{code}\nimport json\nprint('LOADED' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    return {name.split(".")[0] for name in json.loads(line.removeprefix("LOADED"))}


def test_help_is_light() -> None:
    """`prep --help` loads none of the heavy libraries."""
    assert not loaded_by("from pipeline.cli import run; run(['--help'])") & HEAVY


@pytest.mark.parametrize("command", ["validate", "convert", "pack", "verify", "explain", "list"])
def test_commands_load_no_training_library(command: str, tmp_path: Path) -> None:
    """The core commands run where torch and transformers are not installed."""
    calls = {
        "validate": ["validate", "fixtures/demo/alpaca.jsonl"],
        "convert": ["convert", "alpaca:sharegpt", "fixtures/demo/alpaca.jsonl", "-o", str(tmp_path / "x.jsonl")],
        "pack": ["pack", "fixtures/demo/sft.yaml", "-o", str(tmp_path / "out")],
        "verify": ["verify", str(tmp_path)],
        "explain": ["explain", "role.alternation"],
        "list": ["list", "templates"],
    }
    heavy = {"torch", "transformers", "datasets", "trl", "peft", "accelerate", "deepspeed"}
    assert not loaded_by(f"from pipeline.cli import run; run({calls[command]!r})") & heavy


def test_validate_of_a_file_loads_no_arrays() -> None:
    """Checking JSON lines needs no numpy, no pyarrow and no tokenizer: ten records take no start-up time."""
    heavy = {"numpy", "pyarrow", "polars", "tokenizers", "fastokens", "gigatoken"}
    assert not loaded_by("from pipeline.cli import run; run(['validate', 'fixtures/demo/alpaca.jsonl'])") & heavy


def test_checking_a_chunk_knows_no_encoder() -> None:
    """The check job has neither arrays nor the encode job behind it."""
    names = ("pipeline.jobs.encode", "pipeline.jobs.encoder", "stages.render.slot_renderer")
    loaded = f"print([name for name in sys.modules if name in {names}])"
    script = f"import sys, pipeline.jobs.check\n{loaded}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
    assert not loaded_by("import pipeline.jobs.check") & HEAVY


def test_an_import_against_the_direction_is_seen(tmp_path: Path) -> None:
    """The direction check can fail."""
    path = tmp_path / "x.py"
    path.write_text("def f():\n    from pipeline.cli import main\n", encoding="utf-8")
    assert "pipeline" in imported(path)
