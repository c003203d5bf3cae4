"""One account, told four times: validate, manifest, stats and the report's page agree, to the record."""

from __future__ import annotations

import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run
from pipeline.output.open import read_manifest

ROOT = Path(__file__).parents[2]


def told(words: list[str], capfdbinary: Any) -> dict[str, Any]:
    capfdbinary.readouterr()
    run(words)
    found: dict[str, Any] = json.loads(capfdbinary.readouterr().out)
    return found


def real_sample(folder: Path, records: int) -> list[str]:
    assets = os.environ.get("PREP_ASSETS")
    if not assets:
        pytest.skip("PREP_ASSETS names no folder of real data and tokenizers")
    turns = {"messages": "conversations", "tools": "tools"}
    info: dict[str, dict[str, object]] = {
        "a": {"file_name": "alpaca.jsonl"},
        "s": {"file_name": "sharegpt.jsonl", "formatting": "sharegpt", "columns": turns},
        "m": {"file_name": "messages.jsonl", "formatting": "openai", "columns": turns | {"messages": "messages"}},
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for entry in info.values():
        name = str(entry["file_name"])
        with (Path(assets) / "data" / name).open("rb") as source:
            lines = list(islice(source, records))
        lines[7] = b'{"broken": \n'
        (folder / name).write_bytes(b"".join(lines))
    return [f"dataset_dir={folder}", "dataset=a,s,m", f"model_name_or_path={assets}/tok/qwen3", "template=qwen3"]


@pytest.mark.parametrize("which", ["demo", "real"])
def test_four_accounts_agree(which: str, tmp_path: Path, capfdbinary: Any) -> None:
    words = [str(ROOT / "fixtures" / "demo" / "sft.yaml")] if which == "demo" else real_sample(tmp_path, 3000)
    words = [*words, "cutoff_len=512", "packing=true", "max_rejected=10"]
    out = tmp_path / "out"
    checked = told(["validate", *words, "--json"], capfdbinary)
    assert run(["pack", *words, "-o", str(out), "--quiet"]) == 0
    ledger = read_manifest(out)["ledger"]
    report = json.loads((out / "report.json").read_bytes())
    stats = told(["stats", str(out), "--json"], capfdbinary)
    kept = ledger["read"] - sum(ledger["rejected"].values())
    assert checked["totals"]["read"] == report["totals"]["read"] == ledger["read"]
    assert checked["totals"]["kept"] == report["totals"]["kept"] == kept
    assert checked["totals"]["rejected"] == (3 if which == "real" else 0)
    assert {item["path"]: item["kept"] for item in checked["inputs"]} == {
        item["path"]: item["kept"] for item in report["inputs"]
    }
    figures = {key: ledger[key] for key in ("read", "examples", "tokens", "trained_tokens")}
    assert figures == {key: stats["ledger"][key] for key in figures}
    assert run(["report", str(out), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for figure in figures.values():
        assert f"{figure:,}" in page
