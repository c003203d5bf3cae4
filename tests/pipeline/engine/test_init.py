"""Engines give every task's result once; here, in this process, and in the order of the tasks where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine import Inline, Job, in_order
from registry.errors import UsageFault
from tests.support import worker_jobs as jobs


def job(run: Any, prepare: Any = jobs.same) -> Job[Any, Any]:
    return Job(prepare, run, jobs.named, "context")


def test_the_state_is_built_once_and_for_the_first_task() -> None:
    built: list[str] = []

    def prepare(context: str) -> str:
        built.append(context)
        return "state"

    with Inline(job(lambda state, task: (state, task), prepare)) as engine:
        assert built == []
        assert list(engine.run([7])) == [(0, ("state", 7))]
        assert list(engine.run([8, 9])) == [(0, ("state", 8)), (1, ("state", 9))]
    assert built == ["context"]


def test_a_task_is_drawn_when_its_result_is_wanted() -> None:
    drawn: list[int] = []

    def source() -> Iterator[int]:
        for task in range(3):
            drawn.append(task)
            yield task

    results = Inline(job(jobs.square)).run(source())
    assert (next(results), drawn) == ((0, 0), [0])


def test_a_fault_comes_through_as_it_was_raised() -> None:
    with pytest.raises(UsageFault, match="first problem"):
        list(Inline(job(jobs.finds_a_fault)).run(range(8)))


@given(st.permutations(range(6)))
def test_results_are_in_order_in_whatever_order_they_come(came: list[int]) -> None:
    assert list(in_order((index, f"result {index}") for index in came)) == [f"result {at}" for at in range(6)]


def test_a_result_that_never_comes_holds_those_after_it_back() -> None:
    """The caller learns of a lost task by an error of the engine, never by a gap."""
    assert list(in_order([(0, "a"), (2, "c")])) == ["a"]


def test_a_result_is_given_as_soon_as_those_before_it_are() -> None:
    came = iter([(0, "a"), (2, "c"), (1, "b")])
    ordered = in_order(came)
    assert next(ordered) == "a"
    assert next(came) == (2, "c"), "nothing was drawn ahead"
