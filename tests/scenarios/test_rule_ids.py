"""Every rule that the code raises stands in the table, every rule of the table is raised, and no id is put together."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.rules import areas, rules

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("pipeline", "registry", "stages") for path in (ROOT / folder).rglob("*.py"))
ID = re.compile(r"([a-z]+)\.[a-z][a-z0-9-]*")
NOTES = ("Note", "Finding", "Problem", "_note")  # calls whose first argument is a rule


def ids_in(text: str) -> set[str]:
    """Every literal of a source text that is written like a rule's id, of one of the table's areas."""
    found = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    matches = [match for word in found if isinstance(word, str) and (match := ID.fullmatch(word))]
    return {match[0] for match in matches if match[1] in areas()}


def put_together(text: str) -> Iterator[str]:
    """Every f-string that gives an id: an area before a value, a value before a rule's name, what a note is made of."""
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    of_notes = [call.args[0] for call in calls if ast.unparse(call.func).split(".")[-1] in NOTES]
    names = {rule_id.partition(".")[2] for rule_id in rules()}
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        parts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
        area, dot, name = "".join(parts).partition(".")
        if node in of_notes or (dot and ((area in areas() and "{}" in name) or (area == "{}" and name in names))):
            yield ast.unparse(node)


def raised() -> set[str]:
    """The ids that the code, or a schema, names."""
    code = {word for path in SOURCES for word in ids_in(path.read_text(encoding="utf-8"))}
    schemas = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "schemas").rglob("*.json"))
    return code | (set(re.findall(r'"([a-z]+\.[a-z0-9-]+)"', schemas)) & rules().keys())


def test_what_the_code_raises_stands_in_the_table_and_the_other_way_round() -> None:
    assert raised() == rules().keys()


@pytest.mark.parametrize("planted", ["text.no-such-rule", "set.no-records"])
def test_an_id_without_an_entry_is_found(planted: str) -> None:
    assert ids_in(f"Note({planted!r}, '', '')") - rules().keys() == {planted}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_id_is_put_together(path: Path) -> None:
    assert list(put_together(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("planted", ['f"repair.{name}"', 'f"{area}.empty"', 'f"tools.bad-{what}"', 'f"{a}.{b}"'])
def test_an_id_that_is_put_together_is_found(planted: str) -> None:
    assert list(put_together(f"Note({planted}, '', '')"))


def test_every_area_is_used_and_names_its_module() -> None:
    assert {rule_id.partition(".")[0] for rule_id in rules()} == areas().keys()
    for area in areas().values():
        assert area.title and re.fullmatch(r"stages/[a-z_/]+\.py", area.module), area


@pytest.mark.parametrize("name", areas())
def test_the_module_of_an_area_raises_a_rule_of_it(name: str) -> None:
    path = ROOT / areas()[name].module
    found = path.read_text(encoding="utf-8")
    assert any(f'"{rule_id}"' in found for rule_id in rules() if rule_id.partition(".")[0] == name)
