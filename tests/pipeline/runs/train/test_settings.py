"""Typed access to a configuration: what has a default is there, and every problem is collected, not the first alone."""

from __future__ import annotations

import pytest

from pipeline.config import Config
from pipeline.runs.train.settings import Settings


def settings(**values: object) -> Settings:
    return Settings(Config(values))


def test_every_problem_is_kept_in_order() -> None:
    found = settings()
    found.check(False, "a", "is wrong")
    found.check(True, "b", "is right")
    found.check(False, "c", "is wrong too")
    assert found.problems == ["a: is wrong", "c: is wrong too"]


def test_an_empty_text_is_none_where_it_is_optional() -> None:
    found = settings(empty="", gone=None, there="x")
    assert [found.optional(key) for key in ("empty", "gone", "there")] == [None, None, "x"]


@pytest.mark.parametrize("read", ["text", "whole", "number"])
def test_a_value_without_a_default_is_our_mistake(read: str) -> None:
    """It is never handed on as None; the key is named."""
    with pytest.raises(AssertionError, match="gone"):
        getattr(settings(gone=None), read)("gone")


def test_an_unknown_key_is_our_mistake() -> None:
    with pytest.raises(KeyError, match="nothing"):
        settings().flag("nothing")


def test_a_list_of_modules_must_name_one() -> None:
    found = settings(some=["q_proj"], none=[])
    assert (found.modules("some"), found.problems) == (("q_proj",), [])
    assert found.modules("none") == ()
    assert found.problems == ["none: names no module; all stands for every one that fits"]
