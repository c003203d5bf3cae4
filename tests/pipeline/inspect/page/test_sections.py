"""The figures of each section come from the manifest and the report, and show where they do not add up."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from pipeline.inspect.open_target import open_shards
from pipeline.inspect.page import sections
from pipeline.output.shards import Shards
from tests.support.packed_outputs import demo_output


@pytest.fixture(scope="module")
def shards() -> Shards:
    return open_shards(str(demo_output("cutoff_len=90", "val_size=0.1")))


@pytest.fixture
def manifest(shards: Shards) -> dict[str, Any]:
    return copy.deepcopy(dict(shards.manifest))


def test_a_ledger_that_does_not_close_shows_two_sums(manifest: dict[str, Any]) -> None:
    assert all(funnel.left == funnel.right for funnel in sections.ledger(manifest)["funnels"])
    manifest["ledger"]["read"] += 1
    records, tokens, trained = sections.ledger(manifest)["funnels"]
    assert records.left == records.right + 1
    assert (tokens.left, trained.left) == (tokens.right, trained.right)
    manifest["ledger"]["repeated"] += 1  # one more example than records: the sum is two too many
    again = sections.ledger(manifest)["funnels"][0]
    assert again.left == again.right + 2
    assert ("repeated", 1) in [(step.name, step.amount) for step in again.steps]


def test_the_funnels_bars_end_in_what_the_rows_hold(manifest: dict[str, Any]) -> None:
    """The longest bar is what came in, and what was repeated, and is no part of what was lost."""
    for funnel, key in zip(sections.ledger(manifest)["funnels"], ("examples", "tokens", "trained_tokens"), strict=True):
        assert funnel.steps[-1].amount == manifest["ledger"][key]
        assert funnel.whole == max(step.amount for step in funnel.steps if step.kind != "lost")


def test_findings_that_reject_come_first_and_the_unlisted_are_counted(manifest: dict[str, Any]) -> None:
    manifest["ledger"]["rejected"] = {"json.syntax": 1}
    place = {"rule": "json.syntax", "severity": "error", "path": "a", "line": 1}
    report = {"counts": {"text.control": 900, "json.syntax": 8, "gone.rule": 2}, "findings": [place] * 7}
    found = sections.findings(manifest, report)
    assert [rule["id"] for rule in found["rules"]] == ["json.syntax", "text.control", "gone.rule"]
    assert (found["total"], found["kinds"]) == (910, 3)
    first, _, unknown = found["rules"]
    assert first["error"] and first["meaning"] and first["unlisted"] == 3 and len(first["places"]) == 5
    assert unknown["meaning"] == "" and not unknown["error"]


def test_a_mixture_without_a_request_shows_the_natural_share(manifest: dict[str, Any]) -> None:
    """Shares that nobody requested are those of the records read; requested ones stand beside what came of them."""
    rows = sections.mixture(manifest)
    assert sum(row["shown"] for row in rows) == pytest.approx(1)
    assert not any(row["requested"] for row in rows)
    name = rows[0]["name"]
    manifest["mixture"][name]["asked"] = 0.25
    assert sections.mixture(manifest)[0] | {"shown": 0.25, "requested": True} == sections.mixture(manifest)[0]
    assert sections.mixture({"ledger": {"sources": {}}}) == []


def test_a_proof_is_told_as_good_or_as_a_warning() -> None:
    """Without one there is no verdict; a verdict of another release is shown as it stands."""
    template = {"name": "x", "sha256": ""}
    cases = {"one": {"verdict": "differs", "at_token": 3, "ours": "a", "theirs": "b"}}
    shown = sections.proof({"template": template, "template_proof": {"verdict": "differs", "cases": cases}})
    assert shown["kind"] == "warn" and shown["cases"][0] == {"name": "one", **cases["one"]}
    assert sections.proof({"template": template})["verdict"] == ""
    assert sections.proof({"template": template, "template_proof": {"verdict": "new"}})["verdict"] == "new"


def test_long_lists_are_cut_and_the_rest_is_counted(manifest: dict[str, Any]) -> None:
    manifest["inputs"] *= 200
    found = sections.lineage(manifest)
    assert len(found["inputs"]) == sections.MOST_ROWS
    assert found["inputs_left"] == len(manifest["inputs"]) - sections.MOST_ROWS
    assert found["shards_left"] < 0
    manifest["inputs"] *= 100
    text = sections.manifest_text(manifest)["text"]
    assert len(text) < sections.MANIFEST_CHARACTERS + 100 and "see manifest.json" in text


def test_a_manifest_that_fits_is_whole(manifest: dict[str, Any]) -> None:
    assert json.loads(sections.manifest_text(manifest)["text"]) == manifest
    assert sections.manifest_text(manifest)["command"].startswith("prep pack")


def test_a_manifest_without_a_ledger_is_none() -> None:
    with pytest.raises(KeyError, match="ledger"):
        sections.overview({"splits": {}})
