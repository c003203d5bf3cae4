"""One engine serves chunks and shards: which job a run needs, and how each of its tasks is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.engine import Inline
from pipeline.jobs import check
from pipeline.jobs.dispatch import Release, chunk_job, do_task, name_task
from pipeline.jobs.specs import ChunkResult
from tests.support.plans import check_plan, pack_plan, task_of, write_records

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_records(tmp_path / "data.jsonl", GOOD)


def test_without_a_tokenizer_records_are_only_checked(data: Path) -> None:
    job = chunk_job(check_plan(data).batch_spec(None))
    assert job.run is check.run
    ((_, found),) = Inline(job).run([task_of(GOOD)])
    assert isinstance(found, ChunkResult)
    assert (found.read, found.examples) == (1, None)


def test_with_one_they_are_tokenized_and_it_is_let_go_at_the_end(data: Path) -> None:
    job = chunk_job(pack_plan(data).batch_spec(None))
    state = job.prepare(job.context)
    found = job.run(state, task_of(GOOD))
    assert found.examples is not None and len(found.examples.tokens) == 1
    before = state.encoder.tools()
    assert do_task(state, Release()) is None
    assert state.encoder.tools() is not before, "loaded again, should a chunk come after all"


def test_an_error_names_a_chunk_by_its_bytes_and_the_rest_by_its_path() -> None:
    assert name_task(task_of(GOOD)).startswith("data.jsonl, bytes 0 to ")
    assert name_task(Release()) == "no chunk"


def test_a_job_that_encodes_needs_to_know_how(data: Path) -> None:
    job = chunk_job(pack_plan(data).batch_spec(None))
    with pytest.raises(AssertionError):
        job.prepare(replace(job.context, encode=None))
