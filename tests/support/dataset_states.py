"""States of data sets, made of records as a run makes them."""

from __future__ import annotations

from registry.rules import Policy
from stages.core.findings import Note
from stages.formats.table import FORMATS
from stages.validate.dataset_state import SetState
from stages.validate.record import RecordValidator


def state_of(
    records: list[dict[str, object]], format_id: str = "alpaca", path: str = "a.jsonl", first: int = 0
) -> SetState:
    """What is remembered of records that stand one a line from record `first` on, 100 bytes each."""
    stage = {"pref": "dpo", "kto": "kto", "pt": "pt"}.get(FORMATS[format_id].kind, "sft")
    validator = RecordValidator(format_id, FORMATS[format_id].default_fields, stage, Policy(stage))
    state = SetState(path, format_id)
    for number, record in enumerate(records, first):
        notes: list[Note] = []
        found = validator.check(record, notes)
        state.add(record, notes, number + 1, number)
        if found is not None:
            state.keep(found, validator.digest, number + 1, number, number * 100)
    return state


def qa(number: int) -> dict[str, object]:
    """A plain alpaca record, another one for each number."""
    return {"instruction": f"What is {number} plus 1?", "input": "", "output": str(number + 1)}
