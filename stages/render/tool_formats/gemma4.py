"""The tool format of Gemma 4: neither JSON nor XML, but a notation of its own with `<|"|>` for quotation marks.

    declaration:tide{description:<|"|>...<|"|>,parameters:{properties:{harbour:{type:<|"|>STRING<|"|>}},...}}
    <|tool_call>call:tide{days:[1,2],harbour:<|"|>Brest<|"|>}<tool_call|>

Numbers are written as Python shows them (`nan`, `inf`); arguments that are no object stand in the braces as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stages.core.conversation import ToolCall

from .base import Tool, bare

_Q = '<|"|>'


def prompt(tools: Sequence[dict[str, Any]]) -> str:
    """One declaration a line, of definitions that are not wrapped."""
    lines = []
    for tool in tools:
        text = f"declaration:{tool.get('name', '')}{{description:{_Q}{tool.get('description', '')}{_Q}"
        parameters = tool.get("parameters")
        if parameters:
            parts = []
            if parameters.get("properties"):
                rows = []
                for key, about in parameters["properties"].items():
                    row = []
                    if about.get("description"):
                        row.append(f"description:{_Q}{about['description']}{_Q}")
                    if about.get("type"):
                        row.append(f"type:{_Q}{str(about['type']).upper()}{_Q}")
                    rows.append(f"{key}:{{{','.join(row)}}}")
                parts.append(f"properties:{{{','.join(rows)}}}")
            if parameters.get("required"):
                parts.append("required:[" + ",".join(f"{_Q}{item}{_Q}" for item in parameters["required"]) + "]")
            if parameters.get("type"):
                parts.append(f"type:{_Q}{str(parameters['type']).upper()}{_Q}")
            text += f",parameters:{{{','.join(parts)}}}"
        lines.append(text + _response(tool.get("response")) + "}")
    return "\n".join(lines)


def _response(about: Any) -> str:
    if not about:
        return ""
    parts = []
    if about.get("description"):
        parts.append(f"description:{_Q}{about['description']}{_Q}")
    if str(about.get("type", "")).upper() == "OBJECT":
        parts.append(f"type:{_Q}OBJECT{_Q}")
    return f",response:{{{','.join(parts)}}}"


def _value(value: object) -> str:
    if isinstance(value, str):
        return f"{_Q}{value}{_Q}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_value(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return str(value)  # nan and inf, where JSON as upstream writes it has NaN and Infinity
    return json.dumps(value, ensure_ascii=False)


def _arguments(arguments: object) -> str:
    """Named values in braces; what has no names stands in them as it is."""
    if isinstance(arguments, dict):
        return _value(arguments)
    return "{" + (arguments if isinstance(arguments, str) else _value(arguments)) + "}"


def calls(calls: Sequence[ToolCall]) -> str:
    """The calls of a turn, one behind the other."""
    return "".join(f"<|tool_call>call:{call.name}{_arguments(call.arguments)}<tool_call|>" for call in calls)


# --- all --------------------------------------------------------------------------------------------------------------


def gemma4_prompt(tools: Sequence[Tool], date: str) -> str:
    return prompt([bare(tool) for tool in tools])
