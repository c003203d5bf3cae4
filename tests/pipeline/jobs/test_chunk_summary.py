"""A chunk that comes from the cache says the same as the chunk that was checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.jobs.check import Checker, check_records
from pipeline.jobs.chunk_summary import restore, summary
from pipeline.jobs.specs import BatchSpec, SourceSpec
from registry.rules import Policy
from stages.core.collector import Tally
from stages.formats.table import FORMATS
from stages.validate.dataset_state import SetState
from tests.support.plans import task_of

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}
POLICY = Policy.make("sft")


def checked(*records: Any) -> tuple[Tally, SetState]:
    spec = BatchSpec((SourceSpec("x", "alpaca", FORMATS["alpaca"].default_fields),), "sft", POLICY)
    task = task_of(*records)
    tally, _, state = check_records(Checker(spec), task, task.chunk)
    return tally, state


def test_everything_comes_back_through_json() -> None:
    tally, state = checked(GOOD, {**GOOD, "output": ""}, b"{", b'{"instruction": "\xff"}', GOOD)
    again, state_again = restore(json.loads(json.dumps(summary(tally, state, 99))), tally.path, POLICY)
    assert (again.read, again.counts, again.rejected) == (5, tally.counts, tally.rejected)
    assert (again.findings, again.rejects) == (tally.findings, tally.rejects)
    assert len(tally.rejects) >= 2, "there was something to bring back"
    assert state_again.as_dict() == state.as_dict()


def test_findings_name_the_file_that_the_bytes_stand_in_now() -> None:
    """The same bytes may lie in a file of another name by then."""
    tally, state = checked(b"{")
    again, _ = restore(summary(tally, state, 1), "moved.jsonl", POLICY)
    assert again.path == "moved.jsonl"
    assert {finding.path for finding in [*again.findings, *again.rejects[0].findings]} == {"moved.jsonl"}


def test_equal_chunks_have_equal_summaries() -> None:
    """They are part of a file whose bytes are compared."""
    first, second = (json.dumps(summary(*checked(GOOD, b"{"), 7)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("missing", ["read", "counts", "rejects", "setstate"])
def test_a_summary_without_one_of_its_parts_is_no_summary(missing: str) -> None:
    """The caller takes the KeyError for a cache file that has to be made again."""
    made = summary(*checked(GOOD), 1)
    del made[missing]
    with pytest.raises(KeyError):
        restore(made, "data.jsonl", POLICY)
