"""Tool formats: how a template writes the tool list into the system prompt, and calls into an answer.

Every format is a pair of functions: `prompt(tools) -> str` and `calls(calls) -> str`. The strings are those of
LLaMA-Factory's tool formats, its known defects included (contract.md `compat`): glm4_moe leaves out the closing
`</tool_call>`, minimax2 the outer `<minimax:tool_call>`, seed_oss a `>`; `DEFECTS` names them for the finding.
JSON is written with Python's default separators and without ASCII escapes, as upstream does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import tools_gemma4 as gemma4
from .conversation import ToolCall
from .findings import shown

if TYPE_CHECKING:
    from registry.templates import Template

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


DEFECTS = {
    "glm4_moe": "the closing </tool_call> is not written",
    "minimax2": "the outer <minimax:tool_call> is not written",
    "seed_oss": "the `>` after the function's name is not written",
}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _text(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _bare(tool: Tool) -> Tool:
    """The function object, whether or not it came wrapped as {"type": "function", "function": ...}."""
    inner = tool.get("function") if tool.get("type") == "function" else None
    return inner if isinstance(inner, dict) else tool


def _wrapped(tool: Tool) -> Tool:
    return tool if tool.get("type") == "function" else {"type": "function", "function": tool}


def _arguments(call: ToolCall) -> dict[str, Any]:
    if not isinstance(call.arguments, dict):
        name = shown(call.name, 40)
        message = f'the arguments of "{name}" are no object, and this tool format writes each argument by its name'
        raise ToolFormatError("tools.arguments-unwritable", message)
    return call.arguments


def _call_json(call: ToolCall, key: str = "arguments") -> str:
    return _json({"name": call.name, key: call.arguments})


# --- default ----------------------------------------------------------------------------------------------------------


def _default_prompt(tools: Sequence[Tool], date: str) -> str:
    blocks, names = [], []
    for tool in map(_bare, tools):
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
                line += f", should be one of [{', '.join(_text(item) for item in about['enum'])}]"
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


def _default_calls(calls: Sequence[ToolCall]) -> str:
    return "\n".join(f"Action: {call.name}\nAction Input: {_json(call.arguments)}" for call in calls)


def _default_calls_092(calls: Sequence[ToolCall]) -> str:
    return "".join(f"Action: {call.name}\nAction Input: {_json(call.arguments)}\n" for call in calls)


# --- glm4 -------------------------------------------------------------------------------------------------------------

_GLM4_HEAD = (
    "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱 AI 公司训练的语言模型 GLM-4 模型开发的，"
    "你的任务是针对用户的问题和要求提供适当的答复和支持。\n\n# 可用工具"
)


def _glm4_prompt(tools: Sequence[Tool], date: str) -> str:
    text = _GLM4_HEAD
    for tool in map(_bare, tools):
        body = json.dumps(tool, indent=4, ensure_ascii=False)
        text += f"\n\n## {tool.get('name', '')}\n\n{body}\n在调用上述函数时，请使用 Json 格式表示调用的参数。"
    return text


def _glm4_calls(calls: Sequence[ToolCall]) -> str:
    return f"{calls[0].name}\n{_json(calls[0].arguments)}"


# --- llama3 -----------------------------------------------------------------------------------------------------------

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def written_date(iso_date: str) -> str:
    """`2026-11-21` as `21 Nov 2026`, in English whatever the locale. Raises ValueError when it is no date."""
    year, month, day = iso_date.split("-")
    if not (len(year) == 4 and 1 <= int(day) <= 31 and 1 <= int(month) <= 12):
        raise ValueError(iso_date)
    return f"{int(day):02d} {_MONTHS[int(month) - 1]} {int(year):04d}"


def _llama3_prompt(tools: Sequence[Tool], date: str) -> str:
    bodies = "".join(json.dumps(_wrapped(tool), indent=4, ensure_ascii=False) + "\n\n" for tool in tools)
    return (
        f"Cutting Knowledge Date: December 2023\nToday Date: {written_date(date)}\n\n"
        "You have access to the following functions. To call a function, please respond with JSON for a function call. "
        'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}. '
        f"Do not use variables.\n\n{bodies}"
    )


def _llama3_calls(calls: Sequence[ToolCall]) -> str:
    parts = [_call_json(call, "parameters") for call in calls]
    return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"


# --- mistral, minimax, lfm2 -------------------------------------------------------------------------------------------


def _mistral_prompt(tools: Sequence[Tool], date: str) -> str:
    return f"[AVAILABLE_TOOLS] {_json([_wrapped(tool) for tool in tools])}[/AVAILABLE_TOOLS]"


def _mistral_calls(calls: Sequence[ToolCall]) -> str:
    return f"[{', '.join(map(_call_json, calls))}]"


def _minimax1_prompt(tools: Sequence[Tool], date: str) -> str:
    lines = "".join(_json(_bare(tool)) + "\n" for tool in tools)
    return (
        f"You are provided with these tools:\n<tools>\n{lines}</tools>\n\n"
        "If you need to call tools, please respond with <tool_calls></tool_calls> XML tags, and provide tool-name and "
        "json-object of arguments, following the format below:\n<tool_calls>\n"
        '{"name": <tool-name-1>, "arguments": <args-json-object-1>}\n...\n</tool_calls>'
    )


def _minimax1_calls(calls: Sequence[ToolCall]) -> str:
    return "<tool_calls>\n" + "".join(_call_json(call) + "\n" for call in calls) + "</tool_calls>"


def _minimax2_prompt(tools: Sequence[Tool], date: str) -> str:
    lines = "".join(f"<tool>{_json(_bare(tool))}</tool>\n" for tool in tools)
    return (
        "\n\n# Tools\n\nYou may call one or more tools to assist with the user query.\n"
        f"Here are the tools available in JSONSchema format:\n\n<tools>\n{lines}</tools>\n\n"
        "When making tool calls, use XML format to invoke tools and pass parameters:\n\n<minimax:tool_call>\n"
        '<invoke name="tool-name-1">\n<parameter name="param-key-1">param-value-1</parameter>\n'
        '<parameter name="param-key-2">param-value-2</parameter>\n...\n</invoke>\n</minimax:tool_call>'
    )


def _minimax2_calls(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        rows = "".join(
            f'<parameter name="{key}">{_text(value)}</parameter>\n' for key, value in _arguments(call).items()
        )
        blocks.append(f'<invoke name="{call.name}">\n{rows}</invoke>')
    return "\n".join(blocks)


def _lfm2_prompt(tools: Sequence[Tool], date: str) -> str:
    return f"List of tools: <|tool_list_start|>{_json([_bare(tool) for tool in tools])}<|tool_list_end|>"


def _lfm2_calls(calls: Sequence[ToolCall]) -> str:
    written = []
    for call in calls:
        pairs = (
            f'{key}="{value}"' if isinstance(value, str) else f"{key}={_json(value)}"
            for key, value in _arguments(call).items()
        )
        written.append(f"{call.name}({', '.join(pairs)})")
    return f"<|tool_call_start|>[{', '.join(written)}]<|tool_call_end|>"


# --- qwen, ling, qwen3_5, glm4_moe, seed_oss --------------------------------------------------------------------------


def _signatures(tools: Sequence[Tool]) -> str:
    lines = "".join(_json(_wrapped(tool)) + "\n" for tool in tools)
    return (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{lines}</tools>\n\n"
    )


_QWEN_TAIL = (
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> "
    'XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


def _qwen_prompt(tools: Sequence[Tool], date: str) -> str:
    return "\n\n" + _signatures(tools) + _QWEN_TAIL


def _qwen_calls(calls: Sequence[ToolCall]) -> str:
    return "\n".join(f"<tool_call>\n{_call_json(call)}\n</tool_call>" for call in calls)


def _ling_prompt(tools: Sequence[Tool], date: str) -> str:
    return _signatures(tools) + _QWEN_TAIL + "\ndetailed thinking off"


def _qwen35_prompt(tools: Sequence[Tool], date: str) -> str:
    lines = "".join(_json(_bare(tool)) + "\n" for tool in tools)
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


def _qwen35_calls(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        rows = "".join(f"<parameter={key}>\n{_text(value)}\n</parameter>\n" for key, value in _arguments(call).items())
        blocks.append(f"<tool_call>\n<function={call.name}>\n{rows}</function>\n</tool_call>")
    return "\n".join(blocks)


def _glm4moe_prompt(tools: Sequence[Tool], date: str) -> str:
    return (
        "\n\n" + _signatures(tools) + "For each function call, output the function name and arguments within the "
        "following XML format:\n<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>\n"
        "<arg_value>{arg-value-1}</arg_value>\n<arg_key>{arg-key-2}</arg_key>\n<arg_value>{arg-value-2}</arg_value>\n"
        "...\n</tool_call>\n"
    )


def _glm4moe_calls(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        rows = "".join(
            f"\n<arg_key>{key}</arg_key>\n<arg_value>{_text(value)}</arg_value>"
            for key, value in _arguments(call).items()
        )
        blocks.append(f"\n<tool_call>{call.name}{rows}")
    return "\n".join(blocks)


def _seed_prompt(tools: Sequence[Tool], date: str) -> str:
    if not isinstance(tools, (list, dict, str)):
        raise TypeError(f"{shown(tools, 40)} is neither a list nor an object")
    return (
        "system\nYou are Doubao, a helpful AI assistant. You may call one or more functions to assist with the user "
        "query.Tool List:\nYou are authorized to use the following tools (described in JSON Schema format). Before "
        "performing any task, you must decide how to call them based on the descriptions and parameters of these "
        f"tools.\n{_json(tools)}\n工具调用请遵循如下格式:\n<seed:tool_call>\n"
        "<function=example_function_name>\n<parameter=example_parameter_1>value_1</parameter>\n"
        "<parameter=example_parameter_2>This is the value for the second parameter\nthat can span\nmultiple lines"
        "</parameter>\n</function>\n</seed:tool_call>\n"
    )


def _seed_calls(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        rows = "".join(f"<parameter={key}>{_text(value)}</parameter>\n" for key, value in _arguments(call).items())
        blocks.append(f"\n<seed:tool_call>\n<function={call.name}\n{rows}</function>\n</seed:tool_call>")
    return "\n".join(blocks)


# --- all --------------------------------------------------------------------------------------------------------------


def _gemma4_prompt(tools: Sequence[Tool], date: str) -> str:
    return gemma4.prompt([_bare(tool) for tool in tools])


FORMATS: dict[str, ToolFormat] = {
    "default": ToolFormat(_default_prompt, _default_calls),
    "gemma4": ToolFormat(_gemma4_prompt, gemma4.calls),
    "glm4": ToolFormat(_glm4_prompt, _glm4_calls, parallel=False),
    "glm4_moe": ToolFormat(_glm4moe_prompt, _glm4moe_calls),
    "lfm2": ToolFormat(_lfm2_prompt, _lfm2_calls),
    "ling": ToolFormat(_ling_prompt, _qwen_calls),
    "llama3": ToolFormat(_llama3_prompt, _llama3_calls),
    "minimax1": ToolFormat(_minimax1_prompt, _minimax1_calls),
    "minimax2": ToolFormat(_minimax2_prompt, _minimax2_calls),
    "mistral": ToolFormat(_mistral_prompt, _mistral_calls),
    "qwen": ToolFormat(_qwen_prompt, _qwen_calls),
    "qwen3_5": ToolFormat(_qwen35_prompt, _qwen35_calls),
    "seed_oss": ToolFormat(_seed_prompt, _seed_calls, whole=True),
}


def tool_format(name: str, compat: str) -> ToolFormat:
    """A format as the named version of LLaMA-Factory has it: 0.9.2 refuses parallel calls in llama3's, and ends each
    call of the default format with a line break.

    Raises KeyError for an unknown name.
    """
    found = FORMATS[name]
    if compat == "llamafactory-0.9.2":
        if name == "llama3":
            return found._replace(parallel=False)
        if name == "default":
            return found._replace(calls=_default_calls_092)
    return found


def tools_written_as(template: Template, chosen_format: str | None) -> str:
    """What of a record's tools a template can write: "list" (of definitions), "json" (any JSON value, as one) or "text"
    (whatever stands there). chosen_format: the run's `tool_format`, in place of the template's own."""
    if template.tools_slots and not chosen_format:
        return "text"
    return "json" if tool_format(chosen_format or template.tools_format, template.compat).whole else "list"
