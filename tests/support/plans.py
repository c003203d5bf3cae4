"""Plans of small inputs with the tiny tokenizer, and the specs and tasks that a run would make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.config import load_config
from pipeline.jobs.specs import Task
from pipeline.plan import make_plan
from pipeline.plan.types import Plan
from tests.support.chunks import chunk_of

TINY = Path(__file__).parents[2] / "fixtures" / "tiny"


def write_records(path: Path, *records: Any) -> Path:
    """A JSON Lines file with these records."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def pack_plan(path: Path, *settings: str) -> Plan:
    """The plan of `prep pack` for a file, template qwen3 unless a setting says otherwise."""
    words = [f"dataset={path}", f"model_name_or_path={TINY}", "template=qwen3", *settings]
    return make_plan(load_config(None, words, for_command="pack"), needs_tokens=True)


def check_plan(path: Path, *settings: str) -> Plan:
    """The plan of `prep validate` for a file, without a tokenizer."""
    return make_plan(load_config(None, [f"dataset={path}", *settings], for_command="validate"), needs_tokens=False)


def task_of(*records: Any, wanted: int = -1, check: bool = False) -> Task:
    """The task of a plan's first source for a chunk of these records."""
    chunk = chunk_of(*records)
    return Task(0, chunk.path, chunk, wanted, check)
