"""A tool format read off as Jinja writes what the format writes, or says that it cannot."""

from __future__ import annotations

import json
from collections.abc import Sequence

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.conversation import ToolCall
from stages.render.jinja.sandbox.environment import make_environment
from stages.render.tool_formats import FORMATS
from stages.render.tool_formats.base import ToolFormat
from stages.render.tools_to_jinja import quoted, tool_calls, tool_prompt
from tests.support.tool_calls import tool_calls as any_calls

DATE = "2026-11-21"
ENVIRONMENT = make_environment(DATE)


def compiled(source: str | None, variable: str) -> jinja2.Template:
    assert source is not None
    return ENVIRONMENT.from_string(source + "{{ " + variable + " }}")


CALLS = {name: compiled(tool_calls(form), "written") for name, form in FORMATS.items() if name != "gemma4"}


@settings(max_examples=40)
@given(any_calls, st.sampled_from(sorted(CALLS)))
def test_the_jinja_of_a_format_writes_its_calls(written: list[ToolCall], name: str) -> None:
    some = written if FORMATS[name].parallel else written[:1]
    message = {"tool_calls": [{"function": {"name": call.name, "arguments": call.arguments}} for call in some]}
    assert CALLS[name].render(message=message) == FORMATS[name].calls(some)


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"gemma4"}))
def test_the_jinja_of_a_format_lists_the_tools(name: str) -> None:
    about = {"type": "string", "description": "né", "enum": ["a", 2]}
    definitions = [
        {"name": "f", "description": "d", "parameters": {"properties": {"x": about}, "required": ["x"]}},
        {"name": "g", "description": "e", "parameters": {}},
    ]
    wrapped = [{"type": "function", "function": definition} for definition in definitions]
    for count in (1, 2):
        listed = compiled(tool_prompt(FORMATS[name], DATE), "listed").render(tools=wrapped[:count])
        assert listed == FORMATS[name].prompt(definitions[:count], DATE)


def drifting(calls: Sequence[ToolCall]) -> str:
    """JSON whose third call is joined in another way than the second."""
    bodies = [f"{call.name}{json.dumps(call.arguments)}" for call in calls]
    return bodies[0] + "".join("," * number + body for number, body in enumerate(bodies[1:], 1))


@pytest.mark.parametrize("write", [lambda calls: "nothing of the calls", lambda calls: str(len(calls)), drifting])
def test_calls_without_a_regular_shape_are_not_converted(write: object) -> None:
    assert tool_calls(ToolFormat(lambda tools, date: "", write)) is None  # type: ignore[arg-type]


def test_a_list_that_counts_its_tools_is_not_converted() -> None:
    def numbered(tools: Sequence[dict[str, object]], date: str) -> str:
        return "".join(f"{number}. {json.dumps(tool)}\n" for number, tool in enumerate(tools))

    assert tool_prompt(ToolFormat(numbered, FORMATS["qwen"].calls), DATE) is None


@given(st.text())
def test_any_text_is_a_literal_of_itself(text: str) -> None:
    plain = jinja2.Environment(keep_trailing_newline=True)  # no HTML is made
    assert plain.from_string("{{ " + quoted(text) + " }}").render() == text


def test_only_notations_of_their_own_are_not_converted() -> None:
    assert {name for name, form in FORMATS.items() if tool_calls(form) is None} == {"gemma4"}
