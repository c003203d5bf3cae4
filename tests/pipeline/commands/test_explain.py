"""`prep explain`: every rule in 80 columns, and help with a word that is nearly one."""

from __future__ import annotations

import json

import pytest

from pipeline.cli import run
from pipeline.commands.explain import explained
from registry.rules import rules


def test_every_rule_is_explained_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    for rule in rules().values():
        assert run(["explain", rule.id]) == 0
        lines = capsys.readouterr().out.split("breaks it:")[0].splitlines()
        assert lines[0] == rule.id
        assert max(map(len, lines)) <= 80


def test_a_mistyped_rule_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "role.unknwn"]) == 2
    assert 'did you mean "role.unknown"?' in capsys.readouterr().err


def test_an_area_names_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "kto"]) == 2
    assert "kto.one-class" in capsys.readouterr().err


def test_a_rule_as_json_is_the_whole_rule(capsys: pytest.CaptureFixture[str]) -> None:
    for rule in ("role.unknown", "set.duplicate"):
        assert run(["explain", rule, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found == {**vars(rules()[rule]), "by_stage": dict(rules()[rule].by_stage)}


def test_a_record_that_breaks_a_rule_can_be_copied() -> None:
    """It stays on one line, however long it is."""
    for rule in rules().values():
        if rule.example:
            assert explained(rule)[-1] == f"  {rule.example}"


def test_what_cannot_be_lowered_and_what_can_be_repaired_is_said() -> None:
    for rule in rules().values():
        text = " ".join(" ".join(explained(rule)).split())
        assert ("cannot be lowered" in text) == rule.fixed
        assert ("--fix OUT" in text) >= bool(rule.repair)


def test_without_a_rule_the_list_is_pointed_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain"]) == 2
    assert "prep list rules" in capsys.readouterr().err
