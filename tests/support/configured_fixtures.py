"""Runs a fixture that needs a template, a tokenizer or a whole configuration, through the command line.

fixtures/configured/invalid/<rule>[.<variant>].jsonl     beside it <rule>[.<variant>].expect.json

expect.json   rule, line, pointer, severity; config (settings; the tiny tokenizer is added), chat_template and
                  post_processor (the tokenizer's own), command (validate, or pack, whose report.json is read), also
                  (rules that it cannot help breaking)
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[2] / "fixtures"


def expectation(path: Path) -> dict[str, Any]:
    """What stands beside a fixture."""
    return dict(
        json.loads(path.with_name(path.name.removesuffix(".jsonl") + ".expect.json").read_text(encoding="utf-8"))
    )


def findings_of(path: Path, folder: Path) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, findings and what was said on stderr, for one fixture. `folder` is an empty one to work in."""
    from pipeline.cli import run

    expect = expectation(path)
    tokenizer = _tokenizer(expect, folder)
    settings = folder / "config.json"
    settings.write_text(
        json.dumps({"dataset": str(path), "model_name_or_path": str(tokenizer), **expect["config"]}), encoding="utf-8"
    )
    # a YAML reader reads JSON
    config = settings.rename(folder / "config.yaml")
    words = [expect.get("command", "validate"), str(config)]
    words += ["--json"] if words[0] == "validate" else ["-o", str(folder / "out"), "--quiet"]
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    out.flush()
    text = out.buffer.getvalue().decode()  # type: ignore[attr-defined]  # a BytesIO
    if words[0] == "pack":
        report = folder / "out" / "report.json"
        text = report.read_text(encoding="utf-8") if report.exists() else ""
    return code, json.loads(text)["findings"] if text.startswith("{") else [], err.getvalue()


def _tokenizer(expect: dict[str, Any], folder: Path) -> Path:
    """The tiny tokenizer, or a copy of it with the chat template and post-processor that a fixture asks for."""
    tiny = FIXTURES / "tiny"
    changes = {"tokenizer_config.json": "chat_template", "tokenizer.json": "post_processor"}
    if not set(changes.values()) & set(expect):
        return tiny
    copy = folder / "tokenizer"
    shutil.copytree(tiny, copy)
    for name, key in changes.items():
        if key in expect:
            settings = json.loads((copy / name).read_text(encoding="utf-8"))
            (copy / name).write_text(json.dumps({**settings, key: expect[key]}), encoding="utf-8")
    return copy
