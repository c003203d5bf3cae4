"""`prep list`, `prep explain` and `prep schema` answer, and help with a word that is nearly right."""

from __future__ import annotations

import json

import pytest

import schemas
from pipeline.cli import run
from registry.rules import rules
from stages.formats.table import FORMATS


@pytest.mark.parametrize("subject", ["rules", "formats", "templates", "models", "profiles"])
def test_every_subject_lists_as_lines_and_as_json(subject: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", subject]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert run(["list", subject, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(lines)


def test_rules_of_one_area(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "rules", "--area", "tools", "--json"]) == 0
    assert {row["id"] for row in json.loads(capsys.readouterr().out)} == {
        rule_id for rule_id in rules() if rule_id.startswith("tools.")
    }


def test_a_folder_without_dataset_info_is_a_usage_error(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    assert run(["list", "datasets", "--dataset_dir", str(tmp_path)]) == 2


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


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_has_a_schema_to_print(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out) == schemas.load(name)


def test_a_mistyped_format_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "alpacca"]) == 2
    assert 'did you mean "alpaca"?' in capsys.readouterr().err
