"""What conversion between record formats can lose: one id for each thing, and whether it changes what is trained.

content   something that the other format has no place for: it is dropped, or written as something else
form      the same conversation is trained, but converting back writes the record in another form
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Severity = Literal["content", "form"]


class Loss(NamedTuple):
    """One thing that a conversion did not carry.

    field: where, with every index written as [] ("conversations[].weight"), so that losses of one kind can be counted.
    pointer: JSON Pointer into the source record, in the user's own keys. what: id from LOSSES.
    """

    field: str
    pointer: str
    what: str


class Kind(NamedTuple):
    """What an id means. meaning: one sentence for the report and the docs."""

    severity: Severity
    meaning: str


LOSSES: Mapping[str, Kind] = {
    "tool-turn": Kind(
        "content", "a tool call or tool result becomes an ordinary turn: its text stays, its role does not"
    ),
    "turns": Kind("content", "earlier turns have no place and are left out"),
    "trailing-result": Kind("content", "tool results after the last answer are left out"),
    "ignored-calls": Kind("content", "tool_calls that the source format does not read are left out"),
    "system": Kind("content", "the system prompt has no place and is left out"),
    "second-system": Kind("content", "a system field beside a system message is not read, and is left out"),
    "system-key": Kind("content", "a key beside the text of a system message is left out"),
    "tools": Kind("content", "the tool list has no place and is left out"),
    "media": Kind("content", "the files of images, videos or sounds have no place and are left out"),
    "weight": Kind("content", "the loss weight of a turn has no place and is left out"),
    "reasoning": Kind("content", "a thought kept in a field of its own is written into the text of the answer"),
    "name": Kind("content", "the name of a speaker or tool is left out"),
    "call-id": Kind("content", "the id that ties a tool result to its call is left out"),
    "message-key": Kind("content", "a further key of a message is left out"),
    "record-key": Kind(
        "content", "a further key of the record means something else in the other format, and is left out"
    ),
    "rejected": Kind("content", "the rejected answer has no place: only the chosen one is kept"),
    "prompt-split": Kind("form", "instruction and input become one text; where one ended is not kept"),
    "system-place": Kind("form", "the system prompt moves between a field of its own and a leading message"),
    "role-word": Kind("form", "another word for the same role is written"),
    "call-form": Kind("form", "a tool call is written afresh: same name and arguments, other spacing or keys"),
    "call-id-given": Kind("form", "tool calls without ids are given ids"),
    "tools-form": Kind("form", "the tool list is written afresh: same definitions, other spacing or wrapping"),
    "answer-list": Kind("form", "an answer given as a list of one message becomes that message"),
    "empty-field": Kind("form", "missing, null and empty are not told apart"),
    "other": Kind("form", "the value is written in another form"),
}

# what no other format has a place for either, or what the column map requested leaves out
ANYWHERE = frozenset(
    {
        "turns", "trailing-result", "system", "second-system", "system-key", "tools", "media", "record-key", "rejected",
        "system-place", "role-word", "call-form", "call-id-given", "tools-form", "answer-list", "empty-field", "other",
    }
)  # fmt: skip


def field_of(pointer: str) -> str:
    """The field that a JSON Pointer names: "/conversations/3/weight" -> "conversations[].weight"."""
    name = ""
    for place, part in enumerate(pointer.split("/")[1:]):
        if place and part.isascii() and part.isdigit():
            name += "[]"
        else:
            name += ("." if name else "") + part.replace("~1", "/").replace("~0", "~")
    return name


def loss(what: str, pointer: str) -> Loss:
    """A loss at a place."""
    return Loss(field_of(pointer), pointer, what)
