"""What the writers of all formats share: keys that are carried as they are, and the stated losses of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.datasets import Fields
from stages.conversation import Conversation, Message
from stages.findings import pointer

from .losses import Loss, loss
from .turns import ANSWERS

# keys of a message that have a meaning of their own -> what is lost with them
MESSAGE_KEYS = {
    "weight": "weight", "train": "weight", "loss": "weight", "name": "name", "tool_call_id": "call-id",
    "reasoning_content": "reasoning", "tool_calls": "ignored-calls", "function_call": "ignored-calls",
}  # fmt: skip
MEDIA = ("images", "videos", "audios")


def beside(message: Message) -> Mapping[str, object]:
    """The keys beside role and text. A conversation that was no chat record has them in the message's own fields."""
    if message.extras:
        return message.extras[0]
    weight = message.weight
    found = {
        "weight": int(weight) if weight is not None and weight.is_integer() else weight,
        "reasoning_content": message.reasoning,
        "name": message.name,
        "tool_call_id": message.call_id,
    }
    return {key: value for key, value in found.items() if value is not None}


def key_loss(message: Message, key: str, value: object) -> Loss:
    """The loss of one key of a message."""
    what = MESSAGE_KEYS.get(key, "message-key")
    return loss("empty-field" if is_empty(value) else what, message.at + pointer(key))


def is_empty(value: object) -> bool:
    """Whether a value says no more than a missing key: null, "", [] or {}."""
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def text_only(message: Message, text: str, losses: list[Loss]) -> str:
    """The text of a turn in a format that has nothing beside it. A thought goes in front, in the usual words."""
    for extras in message.extras or (beside(message),):
        found = [key_loss(message, key, value) for key, value in extras.items()]
        # a tool turn has lost more than that a field of it was there and empty
        losses.extend(one for one in found if one.what != "empty-field" or message.role in ("user", "assistant"))
    if message.reasoning and message.role in ANSWERS:
        return f"<think>\n{message.reasoning}\n</think>\n\n{text}"
    return text


def add_system(record: dict[str, Any], conversation: Conversation, fields: Fields, losses: list[Loss]) -> None:
    """Writes the system prompt into its column."""
    if conversation.system is None:
        return
    if fields.system is not None:
        record[fields.system] = conversation.system
    else:
        losses.append(loss("system" if conversation.system else "empty-field", conversation.system_at))


def add_tools(
    record: dict[str, Any], value: object, conversation: Conversation, fields: Fields, losses: list[Loss]
) -> None:
    """Writes the tool list into its column; `value` is what this format writes for it."""
    if conversation.tools is None:
        return
    if fields.tools is not None:
        record[fields.tools] = value
    else:
        losses.append(loss("tools", conversation.tools_at))


def add_extra(record: dict[str, Any], conversation: Conversation, fields: Fields, losses: list[Loss]) -> None:
    """Carries the keys that no field took; one that means something else in this format is left out, and stated."""
    extra = conversation.extra
    if not extra:
        return
    columns = {value for name, value in vars(fields).items() if not name.endswith("_tag") or name == "kto_tag"}
    taken = columns - {getattr(fields, name) for name in MEDIA}
    for key, value in extra.items():
        if key in record or key in taken:
            losses.append(loss("record-key", pointer(key)))
        else:
            record[key] = value
