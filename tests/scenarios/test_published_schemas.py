"""What prep writes fits the schemas that it publishes, for both validators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest

from pipeline.cli import run
from pipeline.output.open import read_manifest
from schemas import load

ROOT = Path(__file__).parents[2]


def check(name: str, document: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(load(name))
    jsonschema.Draft202012Validator(load(name)).validate(document)
    jsonschema_rs.validator_for(load(name)).validate(document)


@pytest.mark.parametrize(
    "settings",
    [["val_size=0.2"], ["dataset=demo_dpo", "stage=dpo", "packing=false"], ["dataset=demo_text", "stage=pt"],
     ["dataset=demo_kto", "stage=kto", "packing=false"]],
)  # fmt: skip
def test_manifest_and_report_fit_their_schemas(tmp_path: Path, settings: list[str]) -> None:
    assert (
        run(["pack", str(ROOT / "fixtures" / "demo" / "sft.yaml"), *settings, "-o", str(tmp_path / "out"), "--quiet"])
        == 0
    )
    check("manifest", read_manifest(tmp_path / "out"))
    check("report", json.loads((tmp_path / "out" / "report.json").read_bytes()))


def test_a_manifest_without_its_ledger_is_refused() -> None:
    """The schema can fail."""
    with pytest.raises(jsonschema.ValidationError):
        check("manifest", {"schema_version": 1, "kind": "lm"})
