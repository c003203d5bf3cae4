"""Tool formats whose calls are JSON objects: glm4, llama3, mistral, minimax1, lfm2, qwen, ling."""

from __future__ import annotations

import json
from collections.abc import Sequence

from stages.core.conversation import ToolCall

from .base import Tool, arguments, as_json, bare, call_json, signatures, wrapped

# --- glm4 -------------------------------------------------------------------------------------------------------------

_GLM4_HEAD = (
    "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱 AI 公司训练的语言模型 GLM-4 模型开发的，"
    "你的任务是针对用户的问题和要求提供适当的答复和支持。\n\n# 可用工具"
)


def glm4_prompt(tools: Sequence[Tool], date: str) -> str:
    text = _GLM4_HEAD
    for tool in map(bare, tools):
        body = json.dumps(tool, indent=4, ensure_ascii=False)
        text += f"\n\n## {tool.get('name', '')}\n\n{body}\n在调用上述函数时，请使用 Json 格式表示调用的参数。"
    return text


def glm4_calls(calls: Sequence[ToolCall]) -> str:
    return f"{calls[0].name}\n{as_json(calls[0].arguments)}"


# --- llama3 -----------------------------------------------------------------------------------------------------------

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def written_date(iso_date: str) -> str:
    """`2026-11-21` as `21 Nov 2026`, in English whatever the locale. Raises ValueError when it is no date."""
    year, month, day = iso_date.split("-")
    if not (len(year) == 4 and 1 <= int(day) <= 31 and 1 <= int(month) <= 12):
        raise ValueError(iso_date)
    return f"{int(day):02d} {_MONTHS[int(month) - 1]} {int(year):04d}"


def llama3_prompt(tools: Sequence[Tool], date: str) -> str:
    bodies = "".join(json.dumps(wrapped(tool), indent=4, ensure_ascii=False) + "\n\n" for tool in tools)
    return (
        f"Cutting Knowledge Date: December 2023\nToday Date: {written_date(date)}\n\n"
        "You have access to the following functions. To call a function, please respond with JSON for a function call. "
        'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}. '
        f"Do not use variables.\n\n{bodies}"
    )


def llama3_calls(calls: Sequence[ToolCall]) -> str:
    parts = [call_json(call, "parameters") for call in calls]
    return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"


# --- mistral, minimax, lfm2 -------------------------------------------------------------------------------------------


def mistral_prompt(tools: Sequence[Tool], date: str) -> str:
    return f"[AVAILABLE_TOOLS] {as_json([wrapped(tool) for tool in tools])}[/AVAILABLE_TOOLS]"


def mistral_calls(calls: Sequence[ToolCall]) -> str:
    return f"[{', '.join(map(call_json, calls))}]"


def minimax1_prompt(tools: Sequence[Tool], date: str) -> str:
    lines = "".join(as_json(bare(tool)) + "\n" for tool in tools)
    return (
        f"You are provided with these tools:\n<tools>\n{lines}</tools>\n\n"
        "If you need to call tools, please respond with <tool_calls></tool_calls> XML tags, and provide tool-name and "
        "json-object of arguments, following the format below:\n<tool_calls>\n"
        '{"name": <tool-name-1>, "arguments": <args-json-object-1>}\n...\n</tool_calls>'
    )


def minimax1_calls(calls: Sequence[ToolCall]) -> str:
    return "<tool_calls>\n" + "".join(call_json(call) + "\n" for call in calls) + "</tool_calls>"


def lfm2_prompt(tools: Sequence[Tool], date: str) -> str:
    return f"List of tools: <|tool_list_start|>{as_json([bare(tool) for tool in tools])}<|tool_list_end|>"


def lfm2_calls(calls: Sequence[ToolCall]) -> str:
    written = []
    for call in calls:
        pairs = (
            f'{key}="{value}"' if isinstance(value, str) else f"{key}={as_json(value)}"
            for key, value in arguments(call).items()
        )
        written.append(f"{call.name}({', '.join(pairs)})")
    return f"<|tool_call_start|>[{', '.join(written)}]<|tool_call_end|>"


_QWEN_TAIL = (
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> "
    'XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


def qwen_prompt(tools: Sequence[Tool], date: str) -> str:
    return "\n\n" + signatures(tools) + _QWEN_TAIL


def qwen_calls(calls: Sequence[ToolCall]) -> str:
    return "\n".join(f"<tool_call>\n{call_json(call)}\n</tool_call>" for call in calls)


def ling_prompt(tools: Sequence[Tool], date: str) -> str:
    return signatures(tools) + _QWEN_TAIL + "\ndetailed thinking off"
