"""What the tool formats share: the shape of a tool and of a format, and JSON as upstream writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from stages.core.conversation import ToolCall
from stages.core.display import shown

Tool = dict[str, Any]


class ToolFormat(NamedTuple):
    """One format. `parallel`: whether it can write more than one call in a turn. `whole`: the prompt takes any JSON
    text, object or list for tools and writes it as one value."""

    prompt: Callable[[Sequence[Tool], str], str]
    calls: Callable[[Sequence[ToolCall]], str]
    parallel: bool = True
    whole: bool = False


class ToolFormatError(ValueError):
    """A call that this format cannot write; `rule` is the id of the error that names it, which no policy can lower."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def text(value: object) -> str:
    return value if isinstance(value, str) else as_json(value)


def bare(tool: Tool) -> Tool:
    """The function object, whether or not it came wrapped as {"type": "function", "function": ...}."""
    inner = tool.get("function") if tool.get("type") == "function" else None
    return inner if isinstance(inner, dict) else tool


def wrapped(tool: Tool) -> Tool:
    return tool if tool.get("type") == "function" else {"type": "function", "function": tool}


def arguments(call: ToolCall) -> dict[str, Any]:
    if not isinstance(call.arguments, dict):
        name = shown(call.name, 40)
        message = f'the arguments of "{name}" are no object, and this tool format writes each argument by its name'
        raise ToolFormatError("tools.arguments-unwritable", message)
    return call.arguments


def call_json(call: ToolCall, key: str = "arguments") -> str:
    return as_json({"name": call.name, key: call.arguments})


# --- qwen, ling, qwen3_5, glm4_moe, seed_oss --------------------------------------------------------------------------


def signatures(tools: Sequence[Tool]) -> str:
    lines = "".join(as_json(wrapped(tool)) + "\n" for tool in tools)
    return (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{lines}</tools>\n\n"
    )
