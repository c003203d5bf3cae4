"""Tool formats as Jinja, read off from what a format writes.

A format is a Python function. Given tools and calls whose names and values are unique words, its output shows which
text is fixed and where a name, the arguments, a key or a value goes:

    <tool_call>\\n{"name": "NAME", "arguments": {"KEY": "VALUE"}}\\n</tool_call>
    └──────── before ─────┘    └── between ──┘└──── arguments ──┘└── after ───┘

Two and three calls show what joins them. A format that writes anything else (its own notation for values, prose about
each parameter) is not converted; `None` says so.
"""

from __future__ import annotations

import json
import os.path
from collections.abc import Sequence
from itertools import product
from typing import Any

from stages.core.conversation import ToolCall
from stages.render.tool_formats.base import ToolFormat

from .tool_formats import FORMATS

_NAMES = ("zqxfirst", "zqxsecond", "zqxthird")
_KEYS = ("zqxkey", "zqxother")
_WORD, _NUMBER = "zqxvalue", 987123


def quoted(text: str) -> str:
    """A text as a Jinja string literal."""
    plain = (
        text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    )
    return f"'{plain}'"


# --- the list of tools ------------------------------------------------------------------------------------------------


def tool_prompt(form: ToolFormat, template_date: str) -> str | None:
    """Jinja that sets `listed` to the format's tool prompt, from the template variable `tools`."""
    if form.prompt is FORMATS["default"].prompt:
        return _DEFAULT_PROMPT
    tools = [_tool(name) for name in _NAMES]
    texts = [form.prompt(tools[:count], template_date) for count in (1, 2, 3)]
    for wrapped, indent, heading in product((True, False), (4, None), ("", "\n\n")):
        bodies = [json.dumps(_shape(tool, wrapped), ensure_ascii=False, indent=indent) for tool in tools]
        item = f"{'tool' if wrapped else 'tool.function'} | tojson{'(indent=4)' if indent else ''}"
        if heading:  # each definition stands below its name
            bodies = [tool["name"] + heading + body for tool, body in zip(tools, bodies, strict=True)]
            item = f"tool.function.name ~ {quoted(heading)} ~ {item}"
        parts = _listed(texts, bodies)
        if parts is not None:
            return _loop(*parts, item)
    return None


def _tool(name: str) -> dict[str, Any]:
    about = {"type": "string", "description": "what"}
    parameters = {"type": "object", "properties": {"x": about}, "required": ["x"]}
    return {"name": name, "description": "does " + name, "parameters": parameters}


def _shape(tool: dict[str, Any], wrapped: bool) -> dict[str, Any]:
    return {"type": "function", "function": tool} if wrapped else tool


def _listed(texts: list[str], bodies: list[str]) -> tuple[str, str, str] | None:
    """Texts before, between and after the items, when that is all there is to a list of one, two and three."""
    before, found, after = texts[0].partition(bodies[0])
    if not found or bodies[0] in after:
        return None
    middle = texts[1].removeprefix(before + bodies[0])
    between, found, rest = middle.partition(bodies[1])
    if not found or rest != after:
        return None
    whole = before + between.join(bodies) + after
    return (before, between, after) if texts[2] == whole else None


def _loop(before: str, between: str, after: str, item: str) -> str:
    return (
        f"{{%- set listed %}}{{{{- {quoted(before)} }}}}{{%- for tool in tools %}}"
        f"{{{{- {item} ~ ({quoted(between)} if not loop.last else '') }}}}{{%- endfor %}}{{{{- {quoted(after)} }}}}"
        "{%- endset %}"
    )


_DEFAULT_PROMPT = """{%- set listed %}
    {{- 'You have access to the following tools:\\n' }}
    {%- for tool in tools %}
        {%- set function = tool.function %}
        {%- set parameters = function.parameters or {} %}
        {{- '> Tool Name: ' ~ function.name ~ '\\nTool Description: ' ~ function.description ~ '\\nTool Args:\\n' }}
        {%- for key, about in (parameters.properties or {}).items() %}
            {%- set required = ', required' if key in (parameters.required or []) else '' %}
            {{- '  - ' ~ key ~ ' (' ~ about.type ~ required ~ '): ' ~ about.description }}
            {%- if about.enum %}
                {{- ', should be one of [' }}
                {%- for item in about.enum %}
                    {{- item if item is string else item | tojson }}
                    {{- ', ' if not loop.last }}
                {%- endfor %}
                {{- ']' }}
            {%- endif %}
            {%- if 'items' in about and about['items'] %}
                {{- ', where each item should be ' ~ about['items'].type }}
            {%- endif %}
            {{- '\\n' }}
        {%- endfor %}
        {{- '\\n' }}
    {%- endfor %}
    {{- 'Use the following format if using a tool:\\n```\\nAction: tool name (one of [' }}
    {{- tools | map(attribute='function.name') | join(', ') }}
    {{- '])\\nAction Input: the input to the tool, in a JSON format representing the kwargs (e.g. ```' }}
    {{- '{"input": "hello world", "num_beams": 5}```)\\n```\\n' }}
{%- endset %}"""


# --- calls ------------------------------------------------------------------------------------------------------------


def tool_calls(form: ToolFormat) -> str | None:
    """Jinja that sets `written` to the format's calls, from `message.tool_calls`."""
    return _json_calls(form) or _row_calls(form)


def _split(text: str, words: Sequence[str]) -> list[str] | None:
    """The fixed texts around words that stand in this order; None when one is missing."""
    parts = []
    for word in words:
        before, found, text = text.partition(word)
        if not found:
            return None
        parts.append(before)
    return [*parts, text]


def _json_calls(form: ToolFormat) -> str | None:
    """Formats that write the arguments as one JSON object, the call's name in front of it."""
    made = [ToolCall(name, {_KEYS[0]: _WORD + name}) for name in _NAMES]
    bodies = [json.dumps(call.arguments) for call in made]
    words = [word for pair in zip(_NAMES, bodies, strict=True) for word in pair]
    single = _split(form.calls(made[:1]), words[:2])
    if single is None:
        return None
    before, between, after = single
    several, joint = [before, after], ""
    if form.parallel:
        two, three = _split(form.calls(made[:2]), words[:4]), _split(form.calls(made), words)
        if two is None or three is None:
            return None
        joint = two[2]
        several = [two[0], two[4]]
        if two[1:4] != [between, joint, between] or three != [two[0], between, joint, between, joint, between, two[4]]:
            return None
    many = "message.tool_calls | length > 1"
    start = _choice(several[0], before, many)
    end = _choice(several[1], after, many)
    return (
        f"{{%- set written %}}{{{{- {start} }}}}{{%- for tool_call in message.tool_calls %}}"
        "{%- set call = tool_call.function %}"
        f"{{{{- call.name ~ {quoted(between)} }}}}"
        "{{- call.arguments if call.arguments is string else call.arguments | tojson }}"
        f"{{{{- {quoted(joint)} if not loop.last else '' }}}}{{%- endfor %}}{{{{- {end} }}}}{{%- endset %}}"
    )


def _choice(yes: str, no: str, condition: str) -> str:
    return quoted(yes) if yes == no else f"({quoted(yes)} if {condition} else {quoted(no)})"


def _row_calls(form: ToolFormat) -> str | None:
    """Formats that write every argument by itself: a key, and its value as it is (a text) or as JSON (all else)."""
    name, other, key, key2 = _NAMES[0], _NAMES[1], *_KEYS
    number = str(_NUMBER)

    def text(*calls: tuple[str, dict[str, object]]) -> str:
        return form.calls([ToolCall(called, arguments) for called, arguments in calls])

    empty = _split(text((name, {})), [name])
    quote = _WORD + '"\\'  # a format that escapes it writes JSON, which is no row of its own
    worded = _split(text((name, {key: quote})), [name, key, quote])
    counted = _split(text((name, {key: _NUMBER})), [name, key, number])
    rows = _split(text((name, {key: _NUMBER, key2: _NUMBER})), [name, key, number, key2, number])
    nested: dict[str, object] = {key2: {"x": _WORD}, key: _NUMBER}  # keys out of order, and a value that is JSON
    deep = _split(text((name, nested)), [name, key2, json.dumps(nested[key2]), key, number])
    calls = _split(text((name, {key: _NUMBER}), (other, {key: _NUMBER})), [name, key, number, other, key, number])
    if empty is None or worded is None or counted is None or rows is None or calls is None:
        return None
    start, opened, assigned, ended = counted
    close = os.path.commonprefix([ended[::-1], empty[1][::-1]])[::-1]  # noqa: RUF071  # characters are meant
    full, bare = ended[: len(ended) - len(close)], empty[1][: len(empty[1]) - len(close)]
    left, right = worded[2].removeprefix(assigned), worded[3].removesuffix(ended)
    next_row, next_call = rows[3], calls[3].removeprefix(full)
    regular = (
        empty[0] == worded[0] == rows[0] == calls[0] == start
        and worded[1] == rows[1] == opened
        and rows == deep == [start, opened, assigned, next_row, assigned, ended]
        and calls == [start, opened, assigned, full + next_call, opened, assigned, ended]
        and worded == [start, opened, assigned + left, right + ended]
    )
    if not regular:
        return None
    word = " ~ ".join(part for part in (left and quoted(left), "value", right and quoted(right)) if part)
    return (
        "{%- set written %}{%- for tool_call in message.tool_calls %}{%- set call = tool_call.function %}"
        f"{{{{- ({quoted(start)} if loop.first else {quoted(next_call)}) ~ call.name }}}}"
        "{%- for key, value in call.arguments.items() %}"
        f"{{{{- ({quoted(opened)} if loop.first else {quoted(next_row)}) ~ key ~ {quoted(assigned)} }}}}"
        f"{{%- if value is string %}}{{{{- {word} }}}}{{%- else %}}{{{{- value | tojson }}}}{{%- endif %}}"
        "{%- endfor %}"
        f"{{{{- {_choice(full, bare, 'call.arguments')} }}}}{{%- endfor %}}{{{{- {quoted(close)} }}}}{{%- endset %}}"
    )
