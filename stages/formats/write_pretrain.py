"""Pretraining records out: one text."""

from __future__ import annotations

from typing import Any

from registry.datasets import Fields
from stages.conversation import Conversation

from .losses import Loss
from .writing import add_extra


def write(conversation: Conversation, fields: Fields, kind: str, losses: list[Loss]) -> dict[str, Any]:
    """The conversation's one text as a record under a column map."""
    del kind  # there is only one
    record: dict[str, Any] = {str(fields.prompt): conversation.messages[0].content}
    add_extra(record, conversation, fields, losses)
    return record
