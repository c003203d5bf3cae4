"""A schema error names the user's own keys, the rule, and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.datasets.types import Fields
from stages.formats.table import FORMATS
from stages.validate.schema import compiled

SHAREGPT = FORMATS["sharegpt"].default_fields
RENAMED = replace(
    SHAREGPT,
    messages="dialog",
    role_tag="who",
    content_tag="says",
    user_tag="client",
    assistant_tag="agent",
    system=None,
)


def said(format_id: str, fields: Fields, record: object, kind: str = "sft") -> list[tuple[str, str]]:
    checker = compiled(format_id, fields, kind)
    notes = checker.notes(record)
    assert checker.is_valid(record) == (not notes)
    return [(note.rule, note.pointer) for note in notes]


def test_pointers_and_roles_are_the_users_own() -> None:
    good = {"dialog": [{"who": "client", "says": "Hi"}, {"who": "agent", "says": "Hello"}]}
    assert said("sharegpt", RENAMED, good) == []
    bad = {"dialog": [{"who": "human", "says": "Hi"}, {"who": "agent", "says": 5}]}
    assert said("sharegpt", RENAMED, bad) == [("role.unknown", "/dialog/0/who"), ("shape.type", "/dialog/1/says")]


def test_an_unmapped_field_is_neither_required_nor_checked() -> None:
    assert said("sharegpt", RENAMED, {"dialog": [{"who": "client", "says": "Hi"}], "system": 5}) == []
    assert said("alpaca", Fields(prompt="q"), {"q": "Hi"}) == []


def test_a_missing_field_shows_the_keys_that_are_there_and_the_nearest() -> None:
    (note,) = compiled("alpaca", FORMATS["alpaca"].default_fields, "sft").notes(
        {"instruction": "Hi", "outptu": "Hello"}
    )
    assert (note.rule, note.pointer) == ("shape.missing-field", "")
    assert "outptu" in note.hint
    assert "did you mean" in note.hint


def test_a_role_gets_a_suggestion_or_the_list() -> None:
    def note(word: str, fields: Fields = SHAREGPT) -> object:
        record = {"conversations": [{"from": word, "value": "Hi"}]}
        return compiled("sharegpt", fields, "sft").notes(record)[0]

    assert 'did you mean "human"?' in note("humann").message  # type: ignore[attr-defined]
    assert "human, gpt" in note("zzz").hint  # type: ignore[attr-defined]
    assert '"system_tag": "system"' in note("system", replace(SHAREGPT, system_tag=None)).hint  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "record", "valid"),
    [
        ("sft", {"instruction": "Hi", "output": None}, False),
        ("sft", {"instruction": "Hi"}, False),
        ("predict", {"instruction": "Hi", "output": None}, True),
        ("predict", {"instruction": "Hi"}, True),
        ("predict", {"instruction": "Hi", "output": 5}, False),
        ("pt", {"instruction": "Hi"}, True),
    ],
)
def test_whether_an_answer_may_be_missing_depends_on_the_kind(kind: str, record: object, valid: bool) -> None:
    assert compiled("alpaca", FORMATS["alpaca"].default_fields, kind).is_valid(record) is valid


def test_all_breaches_of_a_record_are_named_at_once() -> None:
    record = {"conversations": [{"from": "human"}, {"value": "x"}, {"from": "gpt", "value": None}, 7], "tools": []}
    assert set(said("sharegpt", SHAREGPT, record)) == {
        ("shape.missing-field", "/conversations/0"),
        ("shape.missing-field", "/conversations/1"),
        ("shape.null", "/conversations/2/value"),
        ("shape.type", "/conversations/3"),
        ("tools.not-text", "/tools"),
    }


def test_keys_with_slashes_are_escaped_in_pointers() -> None:
    fields = replace(FORMATS["alpaca"].default_fields, response="a/b~c")
    assert said("alpaca", fields, {"instruction": "Hi", "a/b~c": 5}) == [("shape.type", "/a~1b~0c")]
