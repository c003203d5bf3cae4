"""A finding says what to do, and its document is safe on any terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.rules import rules
from stages.core.findings import Finding, Note, as_json

FOUND = Finding("text.control", "error", "a.jsonl", 3, 2, 40, "/output", "a control character", "", "\\x07")


def test_a_finding_without_a_hint_brings_the_remedy_of_its_rule() -> None:
    assert FOUND.as_dict()["hint"] == rules()["text.control"].hint != ""
    assert FOUND._replace(hint="leave it out").as_dict()["hint"] == "leave it out"


def test_a_finding_of_a_rule_that_is_gone_is_shown_all_the_same() -> None:
    """A kept report may be older than the table."""
    assert FOUND._replace(rule="text.of-old").as_dict()["hint"] == ""


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_a_document_is_printable_ascii_and_reads_back(text: str) -> None:
    written = as_json({"value": text})
    assert written.isascii()
    assert written.isprintable()
    assert json.loads(written) == {"value": text}


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        as_json({"note": {Note("text.control", "", "")}})
