"""What goes to a worker and comes back can travel, and an error can name its task."""

from __future__ import annotations

import pickle

import pytest

from pipeline.jobs.specs import BatchSpec, ChunkResult, SourceSpec, task_name
from registry.rules import Policy
from stages.core.collector import Tally
from stages.core.findings import Note
from stages.core.records import Record
from stages.formats.table import FORMATS
from stages.validate.dataset_state import SetState
from tests.support.plans import task_of

SOURCE = SourceSpec("x", "alpaca", FORMATS["alpaca"].default_fields)
SPEC = BatchSpec((SOURCE,), "sft", Policy.make("sft", {"text.special-token": "error"}))


def test_a_spec_and_a_task_arrive_as_they_were_sent() -> None:
    task = task_of({"a": 1}, wanted=3, check=True)
    assert pickle.loads(pickle.dumps((SPEC, task))) == (SPEC, task)


def test_a_result_counts_what_the_tally_counted() -> None:
    task = task_of({"a": 1}, {"a": 2})
    tally = Tally(task.path, SPEC.policy)
    tally.read = 2
    tally.judge(Record(b"{}", 2, 1, 9), [Note("shape.type", "", "odd")], must_reject=True)
    found = ChunkResult.of(task, tally, SetState(task.path, "alpaca"), 30)
    assert (found.read, found.rejected, found.counts) == (2, {"shape.type": 1}, {("shape.type", "error"): 1})
    assert (found.number, found.first_record, found.text_bytes, found.examples) == (0, 0, 30, None)
    tally.counts.clear()
    assert found.counts, "a result does not change with the tally it came from"
    assert pickle.loads(pickle.dumps(found._replace(setstate=None))).findings == found.findings


def test_a_task_is_named_by_its_bytes() -> None:
    task = task_of({"a": 1})
    assert task_name(task) == f"data.jsonl, bytes 0 to {len(task.chunk.data or b'')}"


def test_a_source_that_is_not_there_has_no_key() -> None:
    with pytest.raises(IndexError):
        SPEC.content_key(1)
