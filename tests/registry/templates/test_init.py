"""Templates are data: each can be loaded, by the version it is meant for, and says what it needs of a tokenizer."""

from __future__ import annotations

import json
import re

import pytest

from registry.errors import UsageFault
from registry.templates import CLASSES, COMPATS, load_template, template_names


def test_every_template_loads_in_every_version_and_takes_the_users_text() -> None:
    for name in template_names():
        for compat in COMPATS:
            template = load_template(name, compat)
            assert (template.name, template.compat) == (name, compat)
            assert template.kind in CLASSES
            for part in (template.user, template.assistant, template.observation):
                assert any("{{content}}" in slot.value for slot in part if slot.kind == "text"), (name, compat)
            assert {slot.kind for slot in (*template.prefix, *template.user)} <= {"text", "id", "token", "nothing"}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("qwen33", 'did you mean "qwen3"'),
        ("Qwen3", 'did you mean "qwen3"'),
        ("atuo", 'did you mean "auto"'),
        ("../qwen", ""),
        ("", ""),
        ("zzz", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(name: str, near: str) -> None:
    with pytest.raises(UsageFault, match=re.escape(f"there is no template {name!r}")) as caught:
        load_template(name)
    assert near in caught.value.problems[0]
    assert "prep list templates" in caught.value.hint


def test_an_unknown_version_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageFault, match=r"is not one of llamafactory-0\.9\.6, llamafactory-0\.9\.2; did you mean"):
        load_template("qwen", "llamafactory-0.9.5")


def test_an_older_version_writes_as_it_did_where_it_differs() -> None:
    new, old = load_template("gemma"), load_template("gemma", "llamafactory-0.9.2")
    assert new.system != old.system
    assert new.text != old.text, "rows of the two have different hashes"
    same, older = load_template("baichuan"), load_template("baichuan", "llamafactory-0.9.2")
    assert same.text == older.text


def test_the_hashed_text_is_the_whole_definition() -> None:
    """The name and the version are not in it: two templates that write the same are the same."""
    definition = json.loads(load_template("qwen3_vl").text)
    assert definition["class"] == "reasoning"
    assert "llamafactory-0.9.2" not in definition
    assert "name" not in definition


def test_what_is_not_written_for_a_turn_is_written_as_its_counterpart() -> None:
    for template in map(load_template, template_names()):
        definition = json.loads(template.text)
        assert ("observation" in definition) or template.observation == template.user
        assert ("function" in definition) or template.function == template.assistant


def test_tokens_that_the_vocabulary_must_have_are_named_once() -> None:
    assert load_template("yayi").tokens()
    for template in map(load_template, template_names()):
        assert len(set(template.tokens())) == len(template.tokens())


def test_control_tokens_written_as_text_are_found_in_slots_and_stop_words() -> None:
    marks = load_template("qwen").marks()
    assert {"<|im_start|>", "<|im_end|>"} == set(marks)
    for template in map(load_template, template_names()):
        assert set(template.stop_words) <= set(template.marks())
