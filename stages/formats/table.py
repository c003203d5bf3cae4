"""The table of record formats: ids, families, default column maps, readers and writers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from registry.datasets.types import Fields
from registry.kinds import STAGES
from stages.core.conversation import Conversation
from stages.core.findings import Note

from . import alpaca, openai, pretrain, sharegpt
from . import alpaca as write_alpaca
from . import openai as write_openai
from . import pretrain as write_pretrain
from . import sharegpt as write_sharegpt
from .losses import Loss


class Reader(Protocol):
    """Reads records of one format and map. plain: the record read last has no calls, thoughts or weights."""

    plain: bool

    def __call__(self, record: dict[str, Any], notes: list[Note]) -> Conversation | None:
        """The record as a `Conversation`; None after a note that says why there is none."""


Writer = Callable[[Conversation, Fields, str, list[Loss]], dict[str, Any]]


class Family(NamedTuple):
    """How records of one shape are read and written. `read(fields, kind)`: a reader. cannot_carry: ids
    (stages.formats.losses.LOSSES) of what a record of this shape has no place for, ANYWHERE aside."""

    read: Callable[[Fields, str], Reader]
    write: Writer
    cannot_carry: tuple[str, ...]


_BESIDE = ("weight", "reasoning", "name", "call-id", "message-key")
FAMILIES = {
    "alpaca": Family(
        alpaca.Reader, write_alpaca.write,
        ("tool-turn", *_BESIDE, "ignored-calls", "system-place"),
    ),
    "sharegpt": Family(
        sharegpt.Reader, write_sharegpt.write,
        ("prompt-split", *_BESIDE),  # the keys beside tool results that become one turn
    ),
    "openai": Family(
        openai.Reader, write_openai.write,
        ("prompt-split", *_BESIDE, "ignored-calls", "system-place", "call-id-given"),  # keys that OpenAI has too
    ),
    "pretrain": Family(pretrain.Reader, write_pretrain.write, ()),
}  # fmt: skip


@dataclass(frozen=True)
class Format:
    """One record format. `default_fields`: the map when the user gives none."""

    id: str
    family: str
    kind: str
    default_fields: Fields
    summary: str

    def kind_in(self, stage: str) -> str:
        """The kind of example that a training stage makes of its records; bare text is text in every stage."""
        return self.kind if self.family == "pretrain" else STAGES[stage].records

    def read(self, fields: Fields, kind: str) -> Reader:
        """A reader of its own, which remembers the role sequences it has judged; see `reader`."""
        return FAMILIES[self.family].read(fields, kind)

    def to_conversation(
        self, record: dict[str, Any], fields: Fields, kind: str, notes: list[Note]
    ) -> Conversation | None:
        """One record as a `Conversation`; None after a note that says why there is none.

        The record should have passed the schema (`stages.validate.schema.compiled`); one that has not gives
        `shape.type` without a place. Readers for a whole run come from `reader`.
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
        return FAMILIES[self.family].write(conversation, fields, kind, losses)

    @property
    def cannot_carry(self) -> tuple[str, ...]:
        """Ids (stages.formats.losses.LOSSES) of what a record of this format has no place for, ANYWHERE aside."""
        return FAMILIES[self.family].cannot_carry


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
    Format("alpaca", "alpaca", "sft", replace(_ALPACA, response="output"), "instruction, input, output"),
    Format("sharegpt", "sharegpt", "sft", _SHAREGPT, "conversations of from and value"),
    Format("openai", "openai", "sft", _OPENAI, "messages of role and content"),
    Format("alpaca-dpo", "alpaca", "pref", replace(_ALPACA, **_PAIR), "instruction, chosen, rejected"),
    Format(
        "sharegpt-dpo", "sharegpt", "pref", replace(_SHAREGPT, **_PAIR),
        "conversations, chosen, rejected",
    ),
    Format("openai-dpo", "openai", "pref", replace(_OPENAI, **_PAIR), "messages, chosen, rejected"),
    Format(
        "alpaca-kto", "alpaca", "kto", replace(_ALPACA, response="output", kto_tag="kto_tag"),
        "instruction, output, kto_tag",
    ),
    Format("sharegpt-kto", "sharegpt", "kto", replace(_SHAREGPT, kto_tag="label"), "conversations, label"),
    Format("openai-kto", "openai", "kto", replace(_OPENAI, kto_tag="label"), "messages, label"),
    Format("pretrain", "pretrain", "pt", Fields(prompt="text"), "text"),
)  # fmt: skip
FORMATS: dict[str, Format] = {entry.id: entry for entry in _TABLE}


def format_in_stage(format_id: str, stage: str) -> str:
    """The format as which a stage reads records of `format_id`, however that was found out.

    Labelled answers are read as plain ones where no stage learns from the label: `kto.in-sft` then speaks of each label
    in stage sft, and prompts need none.
    """
    if FORMATS[format_id].kind == "kto" and STAGES[stage].records in ("sft", "predict"):
        return FORMATS[format_id].family
    return format_id


@functools.lru_cache(maxsize=256)
def reader(format_id: str, fields: Fields, kind: str) -> Reader:
    """The reader of one format under one map; kept, since it remembers the role sequences it has judged."""
    return FORMATS[format_id].read(fields, kind)
