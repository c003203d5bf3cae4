"""`prep schema`: the published schema of every format, byte for byte, and help with a word that is nearly one."""

from __future__ import annotations

import json

import pytest

import schemas
from pipeline.cli import run
from stages.formats.table import FORMATS


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_has_a_schema_to_print(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out) == schemas.load(name)


def test_a_mistyped_format_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "alpacca"]) == 2
    assert 'did you mean "alpaca"?' in capsys.readouterr().err


def test_what_is_printed_is_the_published_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is added, so that it can be sent into a file."""
    for name in schemas.names():
        assert run(["schema", name]) == 0
        assert capsys.readouterr().out == schemas.text(name)


def test_without_a_format_all_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert all(name in said for name in schemas.names())
