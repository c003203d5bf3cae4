"""Repairs: what has one right answer is made right and noted; everything else is left as it was."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.rules import Policy, rules
from stages.convert.repair import repair
from stages.core.findings import Note
from stages.formats.table import FORMATS
from stages.validate.record import RecordValidator

FIXTURES = Path(__file__).parents[3] / "fixtures"
CASES = sorted((FIXTURES / "repair").glob("*.json"))
STAGES = {"sft": "sft", "pref": "dpo", "kto": "kto", "pt": "pt"}


def case(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {"stage": STAGES[FORMATS[found["format"]].kind], **found}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_record_is_repaired_as_its_file_says(path: Path) -> None:
    """fixtures/repair/<repair>[.<variant>].json: the record, what becomes of it, and where each repair was made."""
    wanted = case(path)
    fields = FORMATS[wanted["format"]].default_fields
    before = copy.deepcopy(wanted["record"])
    fixed, notes = repair(wanted["record"], wanted["format"], fields, wanted["stage"])
    assert wanted["record"] == before  # the record itself is not touched
    assert [[note.rule, note.pointer] for note in notes] == [[f"repair.{name}", at] for name, at in wanted["repairs"]]
    if wanted["expected"] is None:
        assert fixed is wanted["record"]
        return
    assert fixed == wanted["expected"]
    remarks: list[Note] = []
    policy = Policy(wanted["stage"])
    assert RecordValidator(wanted["format"], fields, wanted["stage"], policy).check(fixed, remarks) is not None
    assert [note for note in remarks if policy.severity(note.rule) == "error"] == []
    assert repair(fixed, wanted["format"], fields, wanted["stage"]) == (fixed, [])  # once is enough


def test_every_repair_has_a_rule_and_a_file() -> None:
    """The table names each repair where it helps, and again as what was done; no third list."""
    named = {rule.repair for rule in rules().values() if rule.repair}
    ruled = {rule.removeprefix("repair.") for rule in rules() if rule.startswith("repair.")}
    shown = {path.name.split(".")[0] for path in CASES}
    assert named <= ruled
    assert ruled == shown | {"bom", "crlf"}, "those two are repairs of whole files"


VALID = [path for form in FORMATS for path in sorted((FIXTURES / form / "valid").glob("*.jsonl"))]


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.parent.parent.name)
def test_a_valid_record_is_left_alone(path: Path) -> None:
    """Except for OpenAI arguments that are an object, which is right and not OpenAI's form."""
    form = FORMATS[path.parent.parent.name]
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        _, notes = repair(record, form.id, form.default_fields, STAGES[form.kind])
        assert {note.rule for note in notes} <= {"repair.arguments-to-text"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "Human", "gpt", "true", "x", "{}", "[{}]"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["conversations", "messages", "from", "value", "role", "content", "chosen", "rejected", "label"]
            )
            | st.sampled_from(["tools", "tool_calls", "function", "arguments", "type", "text", "name"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=24,
)


@given(
    st.dictionaries(st.sampled_from(["conversations", "messages", "chosen", "rejected", "label", "tools"]), json_values)
)
def test_no_record_is_too_odd(record: dict[str, Any]) -> None:
    """Whatever JSON it is: no exception, the record untouched, and a change only with a note."""
    before = copy.deepcopy(record)
    for form in FORMATS.values():
        fixed, notes = repair(record, form.id, form.default_fields, STAGES[form.kind])
        assert record == before
        assert (json.dumps(fixed) != json.dumps(record)) == bool(notes)
