"""Pretraining records: one text, all of it trained. The `Conversation` is one user message that holds it."""

from __future__ import annotations

from typing import Any

from registry.datasets import Fields
from stages.conversation import Conversation
from stages.findings import Note

from .turns import key_pointer, plain_message


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
