"""What a record says about its own rendering reaches the template, and what the template does not use is named."""

from __future__ import annotations

from typing import Any

import pytest

from stages.core.conversation import Conversation, Message
from stages.render.jinja.chat_template import AutoTemplate
from stages.render.jinja.record_variables import kept_thoughts, settings_of, unused_notes, variables_of


def record(**extra: Any) -> Conversation:
    return Conversation((Message("user", "q"), Message("assistant", "a")), extra=extra)


@pytest.mark.parametrize("given", [{"thinking": True}, '{"thinking": true}'])
def test_settings_come_as_an_object_or_as_json_text(given: object) -> None:
    assert variables_of(record(chat_template_kwargs=given)) == {"thinking": True}


@pytest.mark.parametrize("given", ["not json", 5, None, "[1]"])
def test_what_is_no_object_sets_nothing(given: object) -> None:
    assert variables_of(record(chat_template_kwargs=given)) == {}


def test_a_record_may_not_replace_what_prep_hands_over() -> None:
    """`messages` of a record's settings would put another conversation in place of the one that was checked."""
    assert "messages" not in variables_of(record(chat_template_kwargs={"messages": [], "style": "short"}))


def test_documents_are_content_and_switches_are_settings() -> None:
    found = variables_of(record(chat_template_kwargs={"thinking": False}, documents=[{"text": "ice melts"}]))
    assert found["documents"] == [{"text": "ice melts"}]
    assert settings_of(found) == {"thinking": False}


def test_what_the_template_does_not_read_is_named() -> None:
    notes = unused_notes(record(chat_template_kwargs={"thinking": False, "style": "x"}), "{{ thinking }}", "q a")
    assert [(note.rule, note.pointer) for note in notes] == [("template.unused-key", "/chat_template_kwargs/style")]


def test_earlier_thoughts_are_kept_where_there_is_a_switch() -> None:
    assert kept_thoughts(AutoTemplate({"default": "{% if clear_thinking %}{% endif %}"}, {})) == (
        ("clear_thinking", False),
    )
    assert kept_thoughts(AutoTemplate({"default": "{{ messages }}"}, {})) == ()
