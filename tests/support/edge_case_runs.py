"""Runs one case of fixtures/edge-cases.jsonl through `prep validate`, and writes docs/edge-cases.md from all of them.

A line of the file: `case` (its name upstream), `upstream` (what LLaMA-Factory does), and either `held` (the test that
holds our outcome, said in `note`) or what to run (`records`, or `text`/`base64` and `suffix`, or `files`; `entry`
or `info` for dataset_info.json; `dataset`; `config`) with `expect`: exit, kept, rejected, rules, says.

    python tests/support/edge_case_runs.py       writes the page again
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DATA = ROOT / "fixtures" / "edge-cases.jsonl"
PAGE = ROOT / "docs" / "edge-cases.md"


def cases() -> list[dict[str, Any]]:
    """All cases, in the order of the upstream list."""
    return [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]


def outcome(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What `prep validate` makes of a case: exit code, and counts or the message."""
    from pipeline.cli import run

    lay_out(case, folder)
    words = ["validate", f"dataset={case.get('dataset', 'd')}", f"dataset_dir={folder}"]
    for key, value in case.get("config", {}).items():
        words.append(f"{key}={ROOT / 'fixtures' / 'tiny' if value == '@tiny' else value}")
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*words, "--json"])
    out.flush()
    text = out.buffer.getvalue().decode()  # type: ignore[attr-defined]  # a BytesIO
    if code not in (0, 1) or not text:
        return {"exit": code, "says": err.getvalue()}
    report = json.loads(text)
    return {
        "exit": code,
        "kept": report["totals"]["kept"],
        "rejected": report["totals"]["rejected"],
        "rules": sorted(report["counts"]),
    }


def lay_out(case: dict[str, Any], folder: Path) -> None:
    """Writes the case's files and dataset_info.json."""
    files: dict[str, bytes] = {name: text.encode() for name, text in case.get("files", {}).items()}
    name = f"d.{case.get('suffix', 'json')}"
    if "records" in case:
        files[name] = json.dumps(case["records"], ensure_ascii=False).encode()
    elif "text" in case:
        files[name] = case["text"].encode("utf-8", "surrogatepass")
    elif "base64" in case:
        files[name] = base64.b64decode(case["base64"])
    info = case.get("info") or {"d": {"file_name": name, **case.get("entry", {})}}
    files.setdefault("dataset_info.json", json.dumps(info).encode())
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def page() -> str:
    """docs/edge-cases.md."""
    lines = [
        "# Edge cases",
        "",
        "What becomes of malformed and unusual input, in LLaMA-Factory (0.9.6, each case was run) and here. This page",
        "is made from `fixtures/edge-cases.jsonl`, and each line of it is held by a test.",
        "",
        "| case | LLaMA-Factory | prep | |",
        "|---|---|---|---|",
    ]
    for case in cases():
        cells = (case["case"], case["upstream"], ours(case), case.get("note", "") if "expect" in case else "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def ours(case: dict[str, Any]) -> str:
    """Our outcome in a few words."""
    if "held" in case:
        return str(case["note"])
    expect = case["expect"]
    if "says" in expect:
        return f"refused ({expect['exit']}): {expect['says']}"
    words = [f"{expect[what]} {what}" for what in ("kept", "rejected") if expect[what]]
    rules = ", ".join(f"`{rule}`" for rule in expect["rules"])
    return ", ".join(words or ["nothing kept"]) + (f": {rules}" if rules else "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
