"""`prep validate --profile`: the vendor's verdict beside our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run

FIXTURES = Path(__file__).parents[4] / "fixtures"


def report(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, Any]]:
    code = run(["validate", *map(str, words), "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, document


@pytest.mark.parametrize("vendor", ["openai", "together", "mistral", "fireworks", "llamafactory", "trl"])
def test_what_a_vendor_takes_passes(vendor: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No finding of the vendor's, exit 0."""
    code, document = report(capsys, FIXTURES / "profiles" / vendor / "valid.jsonl", "--profile", vendor)
    assert code == 0
    assert not any(rule.startswith("profile.") for rule in document["counts"])


def test_what_it_refuses_is_an_error_and_the_record_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """The record can be packed all the same: kept says what `prep pack` takes in."""
    path = FIXTURES / "profiles" / "openai" / "profile.weight.jsonl"
    code, document = report(capsys, path, "--profile", "openai")
    assert code == 1
    assert document["counts"]["profile.weight"] == 1
    assert document["totals"]["rejected"] == 0
    (finding,) = [item for item in document["findings"] if item["rule"] == "profile.weight"]
    assert (finding["line"], finding["pointer"]) == (13, "/messages/1/weight")
    assert report(capsys, path)[0] == 0


def test_levels_can_be_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """By the profile, and over it by the user."""
    path = FIXTURES / "profiles" / "fireworks" / "profile.record-key.jsonl"
    assert report(capsys, path, "--profile", "fireworks")[0] == 0
    assert report(capsys, path, "--profile", "fireworks", "--error", "profile.record-key")[0] == 1
    path = FIXTURES / "profiles" / "openai" / "profile.few-records.jsonl"
    assert report(capsys, path, "--profile", "openai", "--off", "profile.few-records")[0] == 0


def test_a_refused_format_names_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    """The hint is the command that converts it."""
    path = FIXTURES / "profiles" / "openai" / "profile.format.jsonl"
    _, document = report(capsys, path, "--profile", "openai")
    (finding,) = [item for item in document["findings"] if item["rule"] == "profile.format"]
    assert finding["hint"] == "prep convert sharegpt→openai IN -o OUT"


def test_the_verdict_does_not_depend_on_the_workers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process or two."""
    monkeypatch.setattr("pipeline.engine.open.SMALL_INPUT_BYTES", 0)
    path = FIXTURES / "profiles" / "openai" / "profile.message-key.jsonl"
    one = report(capsys, path, "--profile", "openai", "--workers", "1")
    assert report(capsys, path, "--profile", "openai", "--workers", "2") == one
