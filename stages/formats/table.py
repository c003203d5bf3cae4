"""The table of record formats: ids, families, default column maps, readers and writers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from registry.datasets import Fields
from registry.kinds import STAGES
from stages.conversation import Conversation
from stages.findings import Note

from . import alpaca, openai, pretrain, sharegpt, write_alpaca, write_openai, write_pretrain, write_sharegpt
from .losses import Loss


class Reader(Protocol):
    """Reads records of one format and map. plain: the record read last has no calls, thoughts or weights."""

    plain: bool

    def __call__(self, record: dict[str, Any], notes: list[Note]) -> Conversation | None:
        """The record as a `Conversation`; None after a note that says why there is none."""


Writer = Callable[[Conversation, Fields, str, list[Loss]], dict[str, Any]]


@dataclass(frozen=True)
class Format:
    """One record format. `default_fields`: the map when the user gives none. `read(fields, kind)`: its reader."""

    id: str
    family: str
    kind: str
    default_fields: Fields
    read: Callable[[Fields, str], Reader]
    summary: str

    def kind_in(self, stage: str) -> str:
        """The kind of example that a training stage makes of its records; bare text is text in every stage."""
        return self.kind if self.family == "pretrain" else STAGES[stage].records

    def to_conversation(
        self, record: dict[str, Any], fields: Fields, kind: str, notes: list[Note]
    ) -> Conversation | None:
        """One record as a `Conversation`; None after a note that says why there is none.

        The record should have passed the schema (`stages.schema.compiled`); one that has not gives `shape.type`
        without a place. Readers for a whole run come from `reader`.
        """
        try:
            return reader(self.id, fields, kind)(record, notes)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            notes.append(Note("shape.type", "", f"the record is not of the format {self.id}: {error!r}"))
            return None

    def from_conversation(
        self, conversation: Conversation, fields: Fields, kind: str, losses: list[Loss]
    ) -> dict[str, Any]:
        """A `Conversation` as a record of this format; what it has no place for is appended to `losses`.

        Pointers of losses are those of the record that the conversation was read from.
        """
        return _WRITERS[self.family](conversation, fields, kind, losses)

    @property
    def cannot_carry(self) -> tuple[str, ...]:
        """Ids (stages.formats.losses.LOSSES) of what a record of this format has no place for, ANYWHERE aside."""
        return _CANNOT_CARRY[self.family]


_WRITERS: dict[str, Writer] = {
    "alpaca": write_alpaca.write,
    "sharegpt": write_sharegpt.write,
    "openai": write_openai.write,
    "pretrain": write_pretrain.write,
}
_BESIDE = ("weight", "reasoning", "name", "call-id", "message-key")
_CANNOT_CARRY = {
    "alpaca": ("tool-turn", *_BESIDE, "ignored-calls", "system-place"),
    "sharegpt": ("prompt-split", *_BESIDE),  # the keys beside tool results that become one turn
    "openai": ("prompt-split", *_BESIDE, "ignored-calls", "system-place", "call-id-given"),  # keys that OpenAI has too
    "pretrain": (),
}  # fmt: skip


_MEDIA = Fields(images="images", videos="videos", audios="audios")
_ALPACA = replace(_MEDIA, prompt="instruction", query="input", system="system", history="history", tools="tools")
_SHAREGPT = replace(
    _MEDIA,
    messages="conversations",
    system="system",
    tools="tools",
    role_tag="from",
    content_tag="value",
    user_tag="human",
    assistant_tag="gpt",
    observation_tag="observation",
    function_tag="function_call",
    system_tag="system",
)
_OPENAI = replace(
    _MEDIA,
    messages="messages",
    system="system",
    tools="tools",
    role_tag="role",
    content_tag="content",
    user_tag="user",
    assistant_tag="assistant",
    observation_tag="tool",
    system_tag="system",
)
_PAIR = {"chosen": "chosen", "rejected": "rejected"}

_TABLE = (
    Format("alpaca", "alpaca", "sft", replace(_ALPACA, response="output"), alpaca.Reader, "instruction, input, output"),
    Format("sharegpt", "sharegpt", "sft", _SHAREGPT, sharegpt.Reader, "conversations of from and value"),
    Format("openai", "openai", "sft", _OPENAI, openai.Reader, "messages of role and content"),
    Format("alpaca-dpo", "alpaca", "pref", replace(_ALPACA, **_PAIR), alpaca.Reader, "instruction, chosen, rejected"),
    Format(
        "sharegpt-dpo", "sharegpt", "pref", replace(_SHAREGPT, **_PAIR), sharegpt.Reader,
        "conversations, chosen, rejected",
    ),
    Format("openai-dpo", "openai", "pref", replace(_OPENAI, **_PAIR), openai.Reader, "messages, chosen, rejected"),
    Format(
        "alpaca-kto", "alpaca", "kto", replace(_ALPACA, response="output", kto_tag="kto_tag"), alpaca.Reader,
        "instruction, output, kto_tag",
    ),
    Format(
        "sharegpt-kto", "sharegpt", "kto", replace(_SHAREGPT, kto_tag="label"), sharegpt.Reader,
        "conversations, label",
    ),
    Format("openai-kto", "openai", "kto", replace(_OPENAI, kto_tag="label"), openai.Reader, "messages, label"),
    Format("pretrain", "pretrain", "pt", Fields(prompt="text"), pretrain.Reader, "text"),
)  # fmt: skip
FORMATS: dict[str, Format] = {entry.id: entry for entry in _TABLE}


@functools.lru_cache(maxsize=256)
def reader(format_id: str, fields: Fields, kind: str) -> Reader:
    """The reader of one format under one map; kept, since it remembers the role sequences it has judged."""
    return FORMATS[format_id].read(fields, kind)
