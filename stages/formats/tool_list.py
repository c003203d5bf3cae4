"""The tool list of a record: JSON text in a conversation, real JSON with wrapped definitions in an OpenAI record."""

from __future__ import annotations

import json
from typing import Any

import orjson

from .tool_calls import json_text


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
