"""`prep list`: every subject as lines and as JSON."""

from __future__ import annotations

import json

import pytest

from pipeline.cli import run
from registry.rules import rules


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
