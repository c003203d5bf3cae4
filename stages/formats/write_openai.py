"""OpenAI records out: `messages` of `{role, content}`, real `tool_calls` with ids, one message a tool result.

The tool list is written as JSON, each definition wrapped as {"type": "function", "function": ...} when all of them are
bare. The system prompt is always the leading message.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from registry.datasets import Fields
from stages.conversation import Conversation, Message

from . import write_chat
from .losses import Loss, loss
from .openai import RESULT_BORDER
from .write_calls import calls_list, json_text
from .writing import beside, key_loss

_CALL_KEYS = ("tool_calls", "function_call")


def write(conversation: Conversation, fields: Fields, kind: str, losses: list[Loss]) -> dict[str, Any]:
    """The conversation as an OpenAI record under a column and tag map. kind: sft | pref | kto | predict."""
    turns = _Turns(fields, losses)
    tools = None if conversation.tools is None else tools_list(conversation.tools)
    return write_chat.write_chat(conversation, fields, kind, turns, leading=True, tools=tools)


class _Turns(write_chat.Turns):
    def function(self, message: Message, calls: int) -> dict[str, Any]:
        out: dict[str, Any] = {self.role_key: self.words["assistant"], self.text_key: message.content or None}
        out["tool_calls"] = calls_list(message, calls)
        for key, value in beside(message).items():
            if key == self.text_key and value == "" and not message.content:
                out[key] = ""
            elif key in out:
                self.losses.append(key_loss(message, key, value))
            else:
                out[key] = value
        return out

    def observation(self, message: Message) -> list[dict[str, Any]]:
        parts = message.content.split(RESULT_BORDER)
        word = self.words["observation"]
        if word is None:
            self.losses.append(loss("tool-turn", message.at))
            return [self.entry(message, self.words["user"], message.content, beside(message))]
        listed = []
        for index, (part, extras) in enumerate(zip(parts, _split(message, len(parts)), strict=True)):
            entry: dict[str, Any] = {self.role_key: word}
            if "tool_call_id" not in extras and index < len(self.ids):
                entry["tool_call_id"] = self.ids[index]
            entry[self.text_key] = part
            for key, value in extras.items():
                if key in entry:
                    self.losses.append(key_loss(message, key, value))
                else:
                    entry[key] = value
            listed.append(entry)
        return listed

    def entry(self, message: Message, word: str | None, text: str, extras: Any) -> dict[str, Any]:
        if message.role == "assistant" and any(extras.get(key) for key in _CALL_KEYS):
            # the source format does not read them; here they would become calls
            ignored = {key: value for key, value in extras.items() if key in _CALL_KEYS and value}
            self.losses.extend(key_loss(message, key, value) for key, value in ignored.items())
            extras = {key: value for key, value in extras.items() if key not in ignored}
        return super().entry(message, word, text, extras)


def _split(message: Message, count: int) -> list[dict[str, Any]]:
    """The keys beside each of `count` results: their own, or lines of joined ones."""
    if len(message.extras) == count:
        return [dict(extras) for extras in message.extras]
    joined = beside(message)
    lines = {key: value.split("\n") if isinstance(value, str) else [value] for key, value in joined.items()}
    if all(len(values) == count for values in lines.values()):
        return [{key: values[index] for key, values in lines.items()} for index in range(count)]
    return [dict(joined), *({} for _ in range(count - 1))]


def tools_list(text: str) -> object:
    """A tool list from its JSON text; bare definitions are wrapped. Text that is no JSON list stays text, and so does a
    list that a record cannot hold: with NaN, an integer over 64 bits, half a surrogate pair or nesting without end."""
    tools = _decoded(text)
    if tools is None or not _survives(tools):
        return text
    if all(isinstance(tool, dict) and "name" in tool and "function" not in tool for tool in tools):
        return [{"type": "function", "function": tool} for tool in tools]
    return tools


def _survives(tools: list[Any]) -> bool:
    try:
        return bool(orjson.loads(orjson.dumps(tools)) == tools)
    except (orjson.JSONEncodeError, orjson.JSONDecodeError):
        return False


def tools_unwrapped(text: str) -> str:
    """The JSON text of a tool list, without the wrapping that `tools_list` adds; other text as it is."""
    tools = _decoded(text)
    return json_text([tool["function"] for tool in tools]) if tools and all(map(_wrapped, tools)) else text


def _decoded(text: str) -> list[Any] | None:
    """The list that a text holds, None when it holds none."""
    try:
        tools = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return tools if isinstance(tools, list) else None


def _wrapped(tool: Any) -> bool:
    return (
        isinstance(tool, dict)
        and tool.keys() == {"type", "function"}
        and tool["type"] == "function"
        and isinstance(tool["function"], dict)
        and "name" in tool["function"]
        and "function" not in tool["function"]
    )
