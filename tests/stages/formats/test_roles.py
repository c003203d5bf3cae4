"""Which orders of roles can be trained: LLaMA-Factory's even and odd places, with a name for each breach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.formats.messages import ANSWERS
from stages.formats.roles import Turns, tag_roles
from stages.formats.table import FORMATS

ROLES = {"s": "system", "u": "user", "a": "assistant", "o": "observation", "f": "function"}


def rules_of(words: str, kind: str = "sft") -> list[tuple[str, int]]:
    order = Turns(ROLES, "/m", kind).order(tuple(words))
    return [(problem.rule, problem.place) for problem in order.problems]


@pytest.mark.parametrize("words", ["ua", "sua", "uaua", "ufoa", "ufofoa", "uf", "oa", "uaoa", "ufua"])
def test_orders_that_llama_factory_takes(words: str) -> None:
    assert rules_of(words) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", [("shape.no-messages", -1)]),
        ("s", [("shape.no-messages", -1)]),
        ("u", [("role.last-not-answer", 0)]),
        ("uau", [("role.last-not-answer", 2)]),
        ("auau", [("role.first-not-user", 0), ("role.last-not-answer", 3)]),
        ("uua", [("role.repeated-user", 1)]),
        ("uaa", [("role.repeated-answer", 2)]),
        ("ufa", [("role.repeated-answer", 2)]),
        ("ufooa", [("role.repeated-result", 3)]),
        ("ufoua", [("role.alternation", 3)]),
        ("uoa", [("role.alternation", 1)]),
        ("usa", [("role.system-not-first", 1)]),
        ("ssua", [("role.system-not-first", 1)]),
        ("ufo", [("tools.no-answer-to-result", 2)]),
        ("uuaa", [("role.repeated-user", 1), ("role.repeated-answer", 3)]),
    ],
)
def test_every_breach_of_the_order_has_a_name_and_a_place(words: str, expected: list[tuple[str, int]]) -> None:
    assert rules_of(words) == expected


def test_a_preference_prompt_ends_with_the_user() -> None:
    assert rules_of("u", "pref") == []
    assert rules_of("suau", "pref") == []
    assert rules_of("ua", "pref") == [("preference.prompt-ends-with-answer", 1)]


def test_data_to_predict_may_end_with_either() -> None:
    assert rules_of("u", "predict") == []
    assert rules_of("ua", "predict") == []
    assert rules_of("uu", "predict") == [("role.repeated-user", 1)]


@pytest.mark.parametrize(
    ("words", "rule"), [("oa", "tools.result-without-call"), ("ufua", "tools.call-without-result")]
)
def test_calls_and_results_that_do_not_meet_are_remarked(words: str, rule: str) -> None:
    assert [remark.rule for remark in Turns(ROLES, "/m", "sft").order(tuple(words)).remarks] == [rule]


def test_roles_pointers_and_calls_stand_after_the_system_message() -> None:
    order = Turns(ROLES, "/m", "sft").order(tuple("sufoa"))
    assert order.start == 1
    assert order.roles == ("user", "function", "observation", "assistant")
    assert order.ats == ("/m/1", "/m/2", "/m/3", "/m/4")
    assert order.calls == (1,)


@given(st.text(alphabet="suaof", max_size=9))
def test_what_has_no_problem_has_answers_at_odd_places_and_an_even_count(words: str) -> None:
    order = Turns(ROLES, "/m", "sft").order(tuple(words))
    if not order.problems:
        assert len(order.roles) % 2 == 0
        assert all((role in ANSWERS) == bool(place % 2) for place, role in enumerate(order.roles))


@given(st.text(alphabet="suaof", max_size=9))
def test_what_llama_factory_takes_has_no_problem(words: str) -> None:
    """Its rule: after a leading system message, an even count, user or observation at even places, answers at odd."""
    rest = words.removeprefix("s")
    taken = (
        bool(rest)
        and len(rest) % 2 == 0
        and all((word in "uo", word in "af")[place % 2] for place, word in enumerate(rest))
    )
    assert (rules_of(words) == []) == taken


def test_hostile_variety_does_not_fill_the_memory() -> None:
    turns = Turns(ROLES, "/m", "sft")
    for number in range(5000):
        turns.order(("u", "a") * (number % 3) + tuple("ua"[int(bit)] for bit in f"{number:b}"))
    assert len(turns._known) <= 4096


def test_a_tag_that_is_none_has_no_word() -> None:
    assert "system" in tag_roles(FORMATS["sharegpt"].default_fields)
    assert None not in tag_roles(FORMATS["openai"].default_fields)
