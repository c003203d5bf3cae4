"""Profiles are data: complete, dated, and of rules that exist."""

from __future__ import annotations

import re

import pytest

from pipeline.config.keys import keys
from registry.errors import UsageFault
from registry.profiles import load_profile, profile_names
from registry.rules import SEVERITIES, rules


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_says_whose_it_is_and_from_when(name: str) -> None:
    """Limits move, so each file says when and where they were found."""
    profile = load_profile(name)
    assert profile.title
    assert profile.source.startswith("https://")
    assert re.fullmatch(r"\d{4}-\d\d", profile.as_of)
    assert all(rule in rules() and rule.startswith("profile.") for rule in profile.rules)
    assert all(level in SEVERITIES for level in profile.rules.values())
    for pattern in (profile.call_id, profile.function_name):
        re.compile(pattern)


def test_a_mistyped_profile_gets_a_suggestion() -> None:
    """As every other name does."""
    with pytest.raises(UsageFault, match='did you mean "mistral"'):
        load_profile("mistrall")


def test_the_configuration_knows_every_profile() -> None:
    """The key `profile` takes the names that there are."""
    assert sorted(keys()["profile"].values) == profile_names()
