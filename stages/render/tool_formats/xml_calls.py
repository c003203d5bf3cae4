"""Tool formats whose calls are tags around each argument: minimax2, qwen3_5, glm4_moe, seed_oss."""

from __future__ import annotations

from collections.abc import Sequence

from stages.core.conversation import ToolCall
from stages.core.display import shown

from .base import Tool, arguments, as_json, bare, signatures, text


def minimax2_prompt(tools: Sequence[Tool], date: str) -> str:
    lines = "".join(f"<tool>{as_json(bare(tool))}</tool>\n" for tool in tools)
    return (
        "\n\n# Tools\n\nYou may call one or more tools to assist with the user query.\n"
        f"Here are the tools available in JSONSchema format:\n\n<tools>\n{lines}</tools>\n\n"
        "When making tool calls, use XML format to invoke tools and pass parameters:\n\n<minimax:tool_call>\n"
        '<invoke name="tool-name-1">\n<parameter name="param-key-1">param-value-1</parameter>\n'
        '<parameter name="param-key-2">param-value-2</parameter>\n...\n</invoke>\n</minimax:tool_call>'
    )


def minimax2_calls(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        rows = "".join(f'<parameter name="{key}">{text(value)}</parameter>\n' for key, value in arguments(call).items())
        blocks.append(f'<invoke name="{call.name}">\n{rows}</invoke>')
    return "\n".join(blocks)


def qwen35_prompt(tools: Sequence[Tool], date: str) -> str:
    lines = "".join(as_json(bare(tool)) + "\n" for tool in tools)
    return (
        f"\n\n# Tools\n\nYou have access to the following functions:\n\n<tools>\n{lines}</tools>\n\n"
        "If you choose to call a function ONLY reply in the following format with NO suffix:\n\n<tool_call>\n"
        "<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
        "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple lines\n"
        "</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n"
        "- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested "
        "within <tool_call></tool_call> XML tags\n- Required parameters MUST be specified\n"
        "- You may provide optional reasoning for your function call in natural language BEFORE the function call, but "
        "NOT after\n- If there is no function call available, answer the question like normal with your current "
        "knowledge and do not tell the user about function calls\n</IMPORTANT>"
    )


def qwen35_calls(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        rows = "".join(f"<parameter={key}>\n{text(value)}\n</parameter>\n" for key, value in arguments(call).items())
        blocks.append(f"<tool_call>\n<function={call.name}>\n{rows}</function>\n</tool_call>")
    return "\n".join(blocks)


def glm4moe_prompt(tools: Sequence[Tool], date: str) -> str:
    return (
        "\n\n" + signatures(tools) + "For each function call, output the function name and arguments within the "
        "following XML format:\n<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>\n"
        "<arg_value>{arg-value-1}</arg_value>\n<arg_key>{arg-key-2}</arg_key>\n<arg_value>{arg-value-2}</arg_value>\n"
        "...\n</tool_call>\n"
    )


def glm4moe_calls(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        rows = "".join(
            f"\n<arg_key>{key}</arg_key>\n<arg_value>{text(value)}</arg_value>"
            for key, value in arguments(call).items()
        )
        blocks.append(f"\n<tool_call>{call.name}{rows}")
    return "\n".join(blocks)


def seed_prompt(tools: Sequence[Tool], date: str) -> str:
    if not isinstance(tools, (list, dict, str)):
        raise TypeError(f"{shown(tools, 40)} is neither a list nor an object")
    return (
        "system\nYou are Doubao, a helpful AI assistant. You may call one or more functions to assist with the user "
        "query.Tool List:\nYou are authorized to use the following tools (described in JSON Schema format). Before "
        "performing any task, you must decide how to call them based on the descriptions and parameters of these "
        f"tools.\n{as_json(tools)}\n工具调用请遵循如下格式:\n<seed:tool_call>\n"
        "<function=example_function_name>\n<parameter=example_parameter_1>value_1</parameter>\n"
        "<parameter=example_parameter_2>This is the value for the second parameter\nthat can span\nmultiple lines"
        "</parameter>\n</function>\n</seed:tool_call>\n"
    )


def seed_calls(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        rows = "".join(f"<parameter={key}>{text(value)}</parameter>\n" for key, value in arguments(call).items())
        blocks.append(f"\n<seed:tool_call>\n<function={call.name}\n{rows}</function>\n</seed:tool_call>")
    return "\n".join(blocks)
