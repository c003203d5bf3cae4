"""The `default` tool format: tools described in sentences, calls as Action and Action Input."""

from __future__ import annotations

from collections.abc import Sequence

from stages.core.conversation import ToolCall

from .base import Tool, as_json, bare, text

# --- default ----------------------------------------------------------------------------------------------------------


def default_prompt(tools: Sequence[Tool], date: str) -> str:
    blocks, names = [], []
    for tool in map(bare, tools):
        name = str(tool.get("name", ""))
        names.append(name)
        parameters = tool.get("parameters") or {}
        required = parameters.get("required") or ()
        lines = []
        for key, about in (parameters.get("properties") or {}).items():
            about = about if isinstance(about, dict) else {}
            kind = f"{about.get('type', '')}{', required' if key in required else ''}"
            line = f"  - {key} ({kind}): {about.get('description', '')}"
            if about.get("enum"):
                line += f", should be one of [{', '.join(text(item) for item in about['enum'])}]"
            if about.get("items"):
                line += f", where each item should be {about['items'].get('type', '')}"
            lines.append(line + "\n")
        description = tool.get("description", "")
        blocks.append(f"> Tool Name: {name}\nTool Description: {description}\nTool Args:\n{''.join(lines)}\n")
    return (
        f"You have access to the following tools:\n{''.join(blocks)}"
        "Use the following format if using a tool:\n```\n"
        f"Action: tool name (one of [{', '.join(names)}])\n"
        "Action Input: the input to the tool, in a JSON format representing the kwargs "
        '(e.g. ```{"input": "hello world", "num_beams": 5}```)\n```\n'
    )


def default_calls(calls: Sequence[ToolCall]) -> str:
    return "\n".join(f"Action: {call.name}\nAction Input: {as_json(call.arguments)}" for call in calls)


def default_calls_092(calls: Sequence[ToolCall]) -> str:
    return "".join(f"Action: {call.name}\nAction Input: {as_json(call.arguments)}\n" for call in calls)
