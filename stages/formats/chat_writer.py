"""Chat records out, whatever their words: the turns, and what stands beside them in the record.

What stands beside role and text in a message (`weight`, `name`, ...) is kept under its own key. A tool result without
an id belongs to the call of the turn before that has its place; an id that says no more than that is given where a
format needs one, and left out where it needs none.

What the writers of all formats share: keys that are carried as they are, and the stated losses of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.datasets.types import Fields
from stages.core.conversation import Conversation, Message
from stages.core.display import pointer

from .losses import Loss, loss
from .messages import ANSWERS
from .tool_calls import calls_text, given_id


class Turns:
    """Writes the turns of one record, in order: the ids of calls are counted over the record."""

    def __init__(self, fields: Fields, losses: list[Loss]) -> None:
        self.role_key = str(fields.role_tag)
        self.text_key = str(fields.content_tag)
        self.words: dict[str, str | None] = {
            "user": fields.user_tag,
            "assistant": fields.assistant_tag,
            "function": fields.function_tag,
            "observation": fields.observation_tag,
        }
        self.losses = losses
        self.calls = 0
        self.ids: list[str] = []  # of the calls of the last function turn

    def turn(self, message: Message) -> list[dict[str, Any]]:
        """The turn as messages of the record: one, but for tool results in OpenAI's form."""
        role = message[0]
        if role == "function":
            calls = self.calls
            self.ids = [call.id or given_id(calls + index) for index, call in enumerate(message.calls)]
            self.calls += len(message.calls)
            return [self.function(message, calls)]
        if role == "observation":
            return self.observation(message)
        if message[8] or message[4] is not None or message[5] or message[6] or message[7]:  # anything beside the text
            return [self.entry(message, self.words[role], message[1], beside(message))]
        return [{self.role_key: self.words[role], self.text_key: message[1]}]

    def function(self, message: Message, calls: int) -> dict[str, Any]:
        """A turn of tool calls; `calls` came before it in the record."""
        word = self.words["function"]
        if word is None:
            self.losses.append(loss("tool-turn", message.at))
            word = self.words["assistant"]
        return self.entry(message, word, calls_text(message, calls), beside(message))

    def observation(self, message: Message) -> list[dict[str, Any]]:
        """A turn of tool results."""
        raise NotImplementedError

    def entry(self, message: Message, word: str | None, text: str, extras: Mapping[str, object]) -> dict[str, Any]:
        """One message of the record: role, text, and the keys beside them."""
        out: dict[str, Any] = {self.role_key: word, self.text_key: text}
        for key, value in extras.items():
            if key in out:
                self.losses.append(key_loss(message, key, value))
            else:
                out[key] = value
        return out

    def answer(self, message: Message) -> dict[str, Any]:
        """A chosen or rejected answer; it leaves the count of calls as it is."""
        calls = self.calls
        entry = self.turn(message)[0]
        self.calls = calls
        return entry


def write_chat(
    conversation: Conversation, fields: Fields, kind: str, turns: Turns, *, leading: bool, tools: object
) -> dict[str, Any]:
    """The conversation as a chat record.

    leading: the system prompt goes into a leading message when the tags have a word for it. tools: what this format
    writes for the tool list.
    """
    losses = turns.losses
    messages: list[dict[str, Any]] = []
    for message in conversation.messages:
        messages += turns.turn(message)
    record: dict[str, Any] = {str(fields.messages): messages}
    if kind == "pref":
        for key, side in ((fields.chosen, conversation.chosen), (fields.rejected, conversation.rejected)):
            if key is not None and side is not None:
                record[key] = turns.answer(side)
    elif kind == "kto" and fields.kto_tag is not None:
        record[fields.kto_tag] = conversation.label
    if conversation.system is not None and fields.system_tag is not None and (leading or fields.system is None):
        messages.insert(0, {turns.role_key: fields.system_tag, turns.text_key: conversation.system})
    else:
        add_system(record, conversation, fields, losses)
    add_tools(record, tools, conversation, fields, losses)
    add_extra(record, conversation, fields, losses)
    return record


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
