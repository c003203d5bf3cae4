"""Pretraining: one text, untouched, and the keys beside it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.datasets.types import Fields
from stages.core.conversation import Conversation, Message
from stages.formats.losses import Loss
from stages.formats.pretrain import Reader, write

FIELDS = Fields(prompt="text")


@given(st.text(), st.dictionaries(st.text(max_size=3).filter(lambda key: key != "text"), st.integers(), max_size=3))
def test_a_record_comes_back_as_it_was(text: str, more: dict[str, Any]) -> None:
    record = {"text": text, **more}
    found = Reader(FIELDS, "pt")(record, [])
    assert found is not None
    assert [(message.role, message.content, message.at) for message in found.messages] == [("user", text, "/text")]
    losses: list[Loss] = []
    assert write(found, FIELDS, "pt", losses) == record
    assert losses == []


def test_a_key_that_means_the_text_in_the_other_map_is_stated() -> None:
    losses: list[Loss] = []
    made = write(Conversation((Message("user", "t"),), extra={"text": "other", "id": 7}), FIELDS, "pt", losses)
    assert made == {"text": "t", "id": 7}
    assert [(item.pointer, item.what) for item in losses] == [("/text", "record-key")]


def test_a_record_without_its_text_has_not_passed_the_schema() -> None:
    with pytest.raises(KeyError):
        Reader(FIELDS, "pt")({"content": "x"}, [])
