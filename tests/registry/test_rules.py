"""The rule table is sound, and a policy answers for one run what each rule is."""

from __future__ import annotations

import re

import pytest

from registry.errors import UsageFault
from registry.kinds import STAGES
from registry.rules import SEVERITIES, Policy, rules


def test_ids_are_area_and_name() -> None:
    for rule_id in rules():
        assert re.fullmatch(r"[a-z]+\.[a-z0-9-]+", rule_id)


def test_stages_and_levels_are_known() -> None:
    named = {stage.rule_stage for stage in STAGES.values()}
    for rule in rules().values():
        assert set(rule.by_stage) <= named, rule.id
        assert set(rule.by_stage.values()) <= set(SEVERITIES), rule.id


def test_what_cannot_be_encoded_is_an_error_in_every_stage_that_encodes_it() -> None:
    for rule in rules().values():
        if rule.fixed:
            assert rule.severity == "error", rule.id


def test_meanings_fit_a_line_and_do_not_end_in_a_stop() -> None:
    for rule in rules().values():
        assert len(rule.meaning) <= 110, rule.id
        assert not rule.meaning.endswith("."), rule.id


def test_the_stage_decides() -> None:
    assert Policy("sft").severity("answer.empty") == "error"
    assert Policy("predict").severity("answer.empty") == "off"


def test_the_user_decides_over_the_stage_and_strict_over_warnings() -> None:
    assert Policy.make("sft", {"answer.empty": "warning"}).severity("answer.empty") == "warning"
    assert Policy.make("sft", strict=True).severity("prompt.empty") == "error"
    assert Policy.make("sft", {"prompt.empty": "off"}, strict=True).severity("prompt.empty") == "off"


def test_all_mistakes_in_overrides_are_reported_at_once() -> None:
    with pytest.raises(UsageFault) as caught:
        Policy.make("sft", {"prompt.emtpy": "off", "prompt.empty": "low", "role.unknown": "warning"})
    problems = "\n".join(caught.value.problems)
    assert 'did you mean "prompt.empty"?' in problems
    assert "'low' is not one of" in problems
    assert "role.unknown cannot be warning" in problems
