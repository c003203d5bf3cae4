"""Pretraining records: one text, all of it trained. The `Conversation` is one user message that holds it.

Pretraining records out: one text.
"""

from __future__ import annotations

from typing import Any

from registry.datasets.types import Fields
from stages.core.conversation import Conversation
from stages.core.findings import Note

from .chat_writer import add_extra
from .losses import Loss
from .messages import key_pointer, plain_message


class Reader:
    """Reads records of one column map; `prompt` is the text's key. Records have passed the schema."""

    def __init__(self, fields: Fields, kind: str) -> None:
        self.fields = fields
        self.kind = kind
        self.plain = True
        self.at = key_pointer(fields.prompt)
        self.taken = frozenset(key for key in (fields.prompt,) if key is not None)

    def __call__(self, record: dict[str, Any], notes: list[Note]) -> Conversation | None:
        """The record as a `Conversation`."""
        text = record[self.fields.prompt]  # type: ignore[index]  # checked by fields_problems
        extra = None if len(record) == 1 else {key: value for key, value in record.items() if key not in self.taken}
        return Conversation((plain_message("user", text, self.at),), extra=extra)


def write(conversation: Conversation, fields: Fields, kind: str, losses: list[Loss]) -> dict[str, Any]:
    """The conversation's one text as a record under a column map."""
    del kind  # there is only one
    record: dict[str, Any] = {str(fields.prompt): conversation.messages[0].content}
    add_extra(record, conversation, fields, losses)
    return record
