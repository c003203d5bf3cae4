"""The layout holds: rooms, their direction, sizes, mirrored tests, no private name across modules.

Every rule is a function of `tests.support.layout`; each has a planted offender here that it must find.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import layout
from tests.support.import_graph import cycles, modules

ROOT = Path(__file__).parents[1]
LONG = "\n".join(f"x{number} = {number}" for number in range(301))
TALL = "def tall() -> None:\n" + "    print(1)\n" * 60
WIDE = "def wide(a: int, b: int, c: int, d: int, e: int, f: int, g: int) -> None: ...\n"


def import_cycles(root: Path) -> list[str]:
    """Groups of modules that import each other, function-level and type-only imports counted."""
    return [" <-> ".join(group) for group in cycles(modules(root, layout.PACKAGES))]


# rule -> files of a small tree that breaks it, and a part of what is then found
PLANTED: dict[Callable[[Path], list[str]], tuple[dict[str, str], str]] = {
    import_cycles: (
        {
            "stages/pack/a.py": "def f() -> None:\n    from stages.pack.b import g\n    g()\n",
            "stages/pack/b.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from .a import f\n",
        },
        "stages.pack.a <-> stages.pack.b",
    ),
    layout.against_the_direction: (
        {"stages/core/a.py": "def f() -> None:\n    from pipeline import plan\n", "pipeline/plan/__init__.py": ""},
        "stages.core.a imports pipeline.plan",
    ),
    layout.without_room: ({"stages/loose.py": "x = 1\n"}, "stages.loose"),
    layout.full_folders: ({f"stages/core/m{number}.py": "" for number in range(16)}, "stages/core: 16 entries"),
    layout.long_modules: ({"stages/core/a.py": LONG + "\n"}, "stages/core/a.py: 301 lines"),
    layout.long_functions: ({"stages/core/a.py": TALL + WIDE}, "wide: 1 lines, 7 parameters"),
    layout.without_test: ({"stages/core/a.py": "x = 1\n"}, "stages/core/a.py"),
    layout.without_source: ({"tests/stages/core/test_gone.py": ""}, "tests/stages/core/test_gone.py"),
    layout.private_imports: (
        {"stages/core/a.py": "_x = 1\n", "stages/core/b.py": "from . import a\n\ny = a._x\n"},
        "stages/core/b.py: a._x",
    ),
    layout.used_by_tests_alone: ({"stages/core/a.py": "def lonely() -> None: ...\n"}, "stages/core/a.py: lonely"),
}


@pytest.mark.parametrize("rule", PLANTED, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Callable[[Path], list[str]]) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize("rule", PLANTED, ids=lambda rule: rule.__name__)
def test_a_planted_offender_is_found(rule: Callable[[Path], list[str]], tmp_path: Path) -> None:
    files, found = PLANTED[rule]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    for package in layout.PACKAGES:
        (tmp_path / package).mkdir(exist_ok=True)
    assert any(found in line for line in rule(tmp_path)), rule(tmp_path)


def test_a_command_may_have_as_many_options_as_it_needs(tmp_path: Path) -> None:
    (tmp_path / "pipeline" / "commands").mkdir(parents=True)
    text = "import click\n\n\n@click.command()\n" + WIDE
    (tmp_path / "pipeline" / "commands" / "x.py").write_text(text, encoding="utf-8")
    assert layout.long_functions(tmp_path) == []
