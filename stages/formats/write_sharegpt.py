"""ShareGPT records out: `conversations` of `{from, value}`, calls as the text of a turn, tools as JSON text.

A system prompt that was a leading message stays one; any other goes into the system column. LLaMA-Factory ignores keys
beside role and text, so they can stay.
"""

from __future__ import annotations

from typing import Any

from registry.datasets import Fields
from stages.conversation import Conversation, Message

from . import write_chat
from .losses import Loss, loss
from .openai import RESULT_BORDER
from .writing import beside, key_loss


def write(conversation: Conversation, fields: Fields, kind: str, losses: list[Loss]) -> dict[str, Any]:
    """The conversation as a ShareGPT record under a column and tag map. kind: sft | pref | kto | predict."""
    led = conversation.system_at.count("/") > 1  # "/conversations/0/value", not "/system"
    turns = _Turns(fields, losses)
    return write_chat.write_chat(conversation, fields, kind, turns, leading=led, tools=conversation.tools)


class _Turns(write_chat.Turns):
    def observation(self, message: Message) -> list[dict[str, Any]]:
        word = self.words["observation"]
        if word is None:
            self.losses.append(loss("tool-turn", message.at))
            word = self.words["user"]
        extras = _joined(message, self.losses)
        if extras.get("tool_call_id") == "\n".join(self.ids[: message.content.count(RESULT_BORDER) + 1]):
            del extras["tool_call_id"]
        return [self.entry(message, word, message.content, extras)]


def _joined(message: Message, losses: list[Loss]) -> dict[str, object]:
    """The keys beside several results, as those of one turn: texts are joined, one a line."""
    if len(message.extras) < 2:
        return dict(beside(message))
    out: dict[str, object] = {}
    for key in dict.fromkeys(key for extras in message.extras for key in extras):
        values = [extras.get(key) for extras in message.extras]
        if all(isinstance(value, str) and value and "\n" not in value for value in values):
            out[key] = "\n".join(str(value) for value in values)
        else:
            losses.extend(key_loss(message, key, value) for value in values if value is not None)
    return out
