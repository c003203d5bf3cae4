"""What the sandbox may use is bounded from the start, and what comes back tells an error from a text."""

from __future__ import annotations

import dataclasses

import pytest

from stages.render.jinja.sandbox.requests import Item, Limits, Outcome, Program


def test_every_limit_is_finite_unless_somebody_says_otherwise() -> None:
    """A template that nobody has seen before gets these."""
    limits = Limits()
    assert all(0 < getattr(limits, field.name) < float("inf") for field in dataclasses.fields(limits))
    assert limits.cpu_s < limits.lost_s < limits.wall_s


def test_limits_cannot_be_raised_by_what_they_bound() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().cpu_s = 99.0  # type: ignore[misc]


def test_an_outcome_is_a_text_or_an_error() -> None:
    assert Outcome("text").error == ""
    assert Outcome("", None, "limit", "too long").marks is None


def test_programs_share_no_variables() -> None:
    """A record's own settings must not reach the next program."""
    first, second = Program({"default": ""}), Program({"default": ""})
    first.variables["style"] = "short"
    assert second.variables == {}
    assert Item("default", []).variables is None
