"""Chat messages as several record formats hold them: plain ones in one step, weights, and where a key stands."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping

from stages.core.conversation import Message, ToolCall
from stages.core.display import pointer
from stages.core.findings import Note

RESULT_BORDER = "\n</tool_response>\n<tool_response>\n"

ANSWERS = frozenset({"assistant", "function"})
_WEIGHTS = frozenset({"weight", "train", "loss"})

_NEW = tuple.__new__  # a NamedTuple's own constructor takes several times as long, for every message of a run
_MESSAGE = itertools.repeat(Message)
_NO_CALLS: Iterator[tuple[ToolCall, ...]] = itertools.repeat(())
_NO_EXTRAS: Iterator[tuple[dict[str, object], ...]] = itertools.repeat(())
_NONE: Iterator[None] = itertools.repeat(None)
_NOT_INLINE = itertools.repeat(False)
_NO_RESULTS: Iterator[tuple[Message, ...]] = itertools.repeat(())


def plain_message(role: str, content: str, at: str) -> Message:
    """A message that is only a role and a text."""
    return _NEW(Message, (role, content, at, (), None, None, None, None, (), False, ()))


def plain_messages(roles: Iterable[str], contents: Iterable[str], ats: Iterable[str]) -> list[Message]:
    """`plain_message` for a whole conversation, without a Python call a message."""
    columns = (roles, contents, ats, _NO_CALLS, _NONE, _NONE, _NONE, _NONE, _NO_EXTRAS, _NOT_INLINE, _NO_RESULTS)
    return list(map(_NEW, _MESSAGE, zip(*columns, strict=False)))


def message_weight(raw: Mapping[str, object]) -> float | None:
    """The loss weight that a message states: `weight`, else `train`, else `loss`; None when none of them does."""
    if _WEIGHTS.isdisjoint(raw):
        return None
    for key in ("weight", "train", "loss"):
        value = raw.get(key)
        if isinstance(value, (int, float)):  # bool is an int
            return float(value)
    return None


def key_pointer(key: str | None) -> str:
    """The pointer of a top-level key; empty for an unmapped one."""
    return "" if key is None else pointer(key)


def weight_notes(messages: Iterable[Message], kind: str, notes: list[Note]) -> None:
    """Notes on the loss weights of a record that states some. The weight stands beside the text of its message."""
    answers = [message for message in messages if message.role in ANSWERS]
    if kind == "sft" and answers and all(message.weight == 0 for message in answers):
        notes.append(Note("weight.all-zero", answers[-1].at, "every answer has weight 0: nothing is trained"))
    for message in messages:
        weight = message.weight
        if weight is not None and weight not in (0, 1):
            notes.append(Note("weight.fraction", message.at, f"weight {weight} counts as 1", str(weight)))
        elif weight and message.role not in ANSWERS:
            notes.append(Note("weight.on-prompt", message.at, "weight 1 on a turn that is not an answer has no effect"))
