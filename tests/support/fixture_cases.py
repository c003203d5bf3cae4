"""Runs a fixture file through reading, checking and the set-level rules, as `prep validate` does.

fixtures/<format>/valid/*           no findings
fixtures/<format>/invalid/<rule>[.<variant>].<suffix>   beside it <rule>[.<variant>].expect.json

expect.json   rule, line (1-based, -1 unknown), pointer, severity; and what the check needs: stage, special_tokens,
              fields (changes to the format's default map), columns, tags (as in dataset_info.json), format,
              before (files read first), split (of this file), also (rules that it cannot help breaking)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.jobs.check import Checker, run
from pipeline.jobs.specs import BatchSpec, SourceSpec, Task
from registry.datasets.types import Fields
from registry.rules import Policy
from stages.core.collector import FindingCollector, Place
from stages.core.findings import Finding
from stages.core.records import Chunk
from stages.formats.table import FORMATS
from stages.readers.scan import scan
from stages.validate.dataset_rules import SetView, set_findings
from stages.validate.dataset_state import SetState

STAGES = {"sft": "sft", "pref": "dpo", "kto": "kto", "pt": "pt"}


SUFFIXES = (".gz", ".zst", ".bz2", ".xz", ".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt")


def beside(path: Path) -> Path:
    """The expect.json of an invalid file."""
    name = path.name
    while name.endswith(SUFFIXES):
        name = name.rpartition(".")[0]
    return path.parent / f"{name}.expect.json"


def expectation(path: Path) -> dict[str, Any]:
    """What stands in it; empty for a valid file."""
    return json.loads(beside(path).read_text(encoding="utf-8")) if beside(path).exists() else {}


def findings_of(path: Path) -> list[Finding]:
    """Everything said about one fixture file; files named by `before` are read first and only their set counts."""
    expect = expectation(path)
    form = FORMATS[expect.get("format", path.parent.parent.name)]
    stage = expect.get("stage", STAGES[form.kind])
    fields = _fields(expect, form.default_fields)
    policy = Policy(stage)
    spec = BatchSpec((SourceSpec("x", form.id, fields),), stage, policy, tuple(expect.get("special_tokens", ())))
    found: list[Finding] = []
    views = []
    for name in (*expect.get("before", ()), path.name):
        said, state = _read((path.parent / name).resolve(), spec)
        split = expect.get("split", "train") if name == path.name else "train"
        views.append(SetView(name, form.id, fields, state, split, "columns" in expect))
        if name == path.name:
            found += said
    return found + set_findings(views, policy).findings


def _fields(expect: dict[str, Any], default: Fields) -> Fields:
    fields = replace(default, **expect.get("fields", {}))
    for block, ours in (("columns", lambda name: not _is_tag(name)), ("tags", _is_tag)):
        if block in expect:
            cleared = dict.fromkeys(filter(ours, vars(fields)))
            fields = replace(fields, **{**cleared, **expect[block]})
    return fields


def _read(path: Path, spec: BatchSpec) -> tuple[list[Finding], SetState]:
    """Findings about a file and its records, and what the set-level rules remember of it."""
    checker = Checker(spec)
    found = FindingCollector()
    whole = SetState(str(path), spec.sources[0].format)
    for item in scan(str(path), spec.limits):
        if isinstance(item, Chunk):
            result = run(checker, Task(0, str(path), item))
            found.merge(result.findings, result.counts)
            assert result.setstate is not None
            whole.merge(result.setstate)
        else:
            for note in item.notes:
                found.note(note, Place(str(path)), spec.policy)
    return found.findings, whole


def _is_tag(name: str) -> bool:
    return name.endswith("_tag") and name != "kto_tag"


def files(root: Path, kind: str) -> Iterator[Path]:
    """All fixture files of a kind: valid or invalid."""
    for name in (*sorted(FORMATS), "bytes"):
        for path in sorted((root / name / kind).glob("*")):
            if not path.name.endswith(".expect.json"):
                yield path
