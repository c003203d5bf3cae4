"""Tool calls out: as the text of a ShareGPT `function_call` turn, and as OpenAI's `tool_calls`.

    {"name": "f", "arguments": {...}}                            one call
    [{"name": "f", "arguments": {...}}, {"name": "g", ...}]      several
    <think>...</think>{"name": ...}                              a thought beside the calls
    Let me see.<tool_call>{"name": ...}</tool_call>              any other text beside them

`calls.read_calls` reads each of them back to the same text and the same calls. A call without an id gets "call00001",
counted over the record, in OpenAI's form, which cannot do without; the same id is left out of the text form, so that
neither direction invents anything that the other keeps.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from stages.conversation import Message, ToolCall

_ONLY_THOUGHT = re.compile(r"<think>.*?</think>\s*", re.DOTALL)


def given_id(number: int) -> str:
    """The id of the record's call `number` (0-based): nine letters and digits, which every vendor accepts."""
    return f"call{number + 1:05d}"


def json_text(value: object) -> str:
    """JSON as LLaMA-Factory writes it: blanks behind commas and colons, text of any script as it is."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:  # a number that is kept as its text
        return orjson.dumps(value).decode()


def calls_text(message: Message, number: int) -> str:
    """The calls of a function turn, and the text beside them, as one text. number: calls of the record before it."""
    listed = [_named(call, number + index) for index, call in enumerate(message.calls)]
    text = json_text(listed[0] if len(listed) == 1 else listed)
    if "<tool_call>" in text or "<think>" in text or "</tool_call>" in text:
        text = text.replace("<", "\\u003c")  # a mark inside an argument would be read as one around the call
    beside = message.content
    if not beside:
        return text
    if _ONLY_THOUGHT.fullmatch(beside):
        return beside + text
    return f"{beside}<tool_call>{text}</tool_call>"


def _named(call: ToolCall, number: int) -> dict[str, object]:
    entry: dict[str, object] = {"name": call.name, "arguments": call.arguments}
    if call.id is not None and call.id != given_id(number):
        entry["id"] = call.id
    return entry


def calls_list(message: Message, number: int) -> list[dict[str, Any]]:
    """The calls of a function turn as `tool_calls`. number: calls of the record before it."""
    return [
        {
            "id": given_id(number + index) if call.id is None else call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json_text(call.arguments)},
        }
        for index, call in enumerate(message.calls)
    ]
