"""Fingerprints: no field of a worker's spec and no line of the code that makes rows can be forgotten."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stages.core.fingerprint import CHUNK_ONLY, HARMLESS, NEVER, PACKAGES, RUN_ONLY, canonical, code_digest

ROOT = Path(__file__).parents[3]


def test_a_new_field_of_a_spec_is_in_the_key() -> None:
    @dataclass(frozen=True)
    class Spec:
        rows: int = 1
        planted: int = 2
        run: int = field(default=3, metadata=RUN_ONLY)
        chunk: int = field(default=4, metadata=CHUNK_ONLY)
        path: str = field(default="", metadata=NEVER)

    assert canonical(Spec(), "run") == {"rows": 1, "planted": 2, "run": 3}
    assert canonical(Spec(), "chunk") == {"rows": 1, "planted": 2, "chunk": 4}
    assert canonical(dataclasses.replace(Spec(), planted=5), "run") != canonical(Spec(), "run")


def test_what_has_no_form_is_refused() -> None:
    """An object without a fixed text, such as a function, would give another key in every process."""
    with pytest.raises(TypeError, match="no canonical form"):
        canonical({"field": len}, "run")


def test_the_order_of_sets_and_keys_says_nothing() -> None:
    assert canonical({"b": frozenset({"y", "x"}), "a": 1}, "run") == canonical(
        {"a": 1, "b": frozenset({"x", "y"})}, "run"
    )


MAKE_ROWS = sorted(
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*")
    if path.suffix in (".py", ".yaml", ".json") and not any(path.is_relative_to(ROOT / name) for name in HARMLESS)
)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("code")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def test_an_edited_line_of_any_module_that_makes_rows_changes_the_key(copied: Path) -> None:
    seen = {code_digest(copied)}
    for name in MAKE_ROWS[::7]:
        with (copied / name).open("a") as handle:
            handle.write("\n# another line\n")
        code_digest.cache_clear()
        seen.add(code_digest(copied))
    assert len(seen) == 1 + len(MAKE_ROWS[::7])
    assert {"stages/mix/interleave.py", "registry/rules.yaml", "pipeline/runs/pack/rows.py"} <= set(MAKE_ROWS)


def test_a_line_of_what_only_shows_things_does_not(copied: Path) -> None:
    code_digest.cache_clear()
    before = code_digest(copied)
    for name in ("pipeline/reports/text.py", "stages/train/run.py", "pipeline/commands/pack.py"):
        with (copied / name).open("a") as handle:
            handle.write("\n# another line\n")
    code_digest.cache_clear()
    assert code_digest(copied) == before
