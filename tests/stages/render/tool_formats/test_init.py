"""Tool lists and calls are written as LLaMA-Factory writes them, character by character."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.rules import rules
from stages.core.conversation import ToolCall
from stages.render.tool_formats import DEFECTS, FORMATS, tool_format
from stages.render.tool_formats.base import ToolFormatError
from stages.render.tool_formats.json_calls import written_date

GOLDENS = Path(__file__).parents[4] / "fixtures" / "goldens"
DATE = "2026-11-21"
F = ToolCall("f", {"a": 1, "b": "x y", "c": {"d": [True, None]}})
G = ToolCall("g", {})


@cache
def goldens() -> dict[str, dict[str, str]]:
    loaded: dict[str, dict[str, str]] = json.loads((GOLDENS / "tool_formats.json").read_text(encoding="utf-8"))
    return loaded


@cache
def tools() -> list[dict[str, Any]]:
    records = json.loads((GOLDENS / "data" / "sharegpt_tools.json").read_text(encoding="utf-8"))
    listed: list[dict[str, Any]] = json.loads(records[0]["tools"])
    return listed


# --- the goldens ------------------------------------------------------------------------------------------------------


def test_every_format_has_a_golden_and_every_golden_a_format() -> None:
    assert sorted(goldens()) == sorted(FORMATS)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_the_tool_list_is_written_as_upstream_writes_it(name: str) -> None:
    assert FORMATS[name].prompt(tools(), DATE) == goldens()[name]["tools"]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_one_call_is_written_as_upstream_writes_it(name: str) -> None:
    assert FORMATS[name].calls([F]) == goldens()[name]["one_call"]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_two_calls_are_written_as_upstream_writes_them(name: str) -> None:
    want = goldens()[name]["two_calls"]
    if want.startswith("ERROR"):
        assert not FORMATS[name].parallel, "what upstream refuses is marked as such"
    else:
        assert FORMATS[name].parallel
        assert FORMATS[name].calls([F, G]) == want


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"seed_oss"}))
def test_a_wrapped_definition_reads_like_a_bare_one(name: str) -> None:
    wrapped = [{"type": "function", "function": tool} for tool in tools()]
    assert FORMATS[name].prompt(wrapped, DATE) == FORMATS[name].prompt(tools(), DATE)


@pytest.mark.parametrize("written", ['[{"type": "function", "function": {"name": "f"}}]', '{"name": "f"}', '"f"'])
def test_seed_oss_writes_the_tools_as_they_stand(written: str) -> None:
    """As upstream: wrapped definitions stay wrapped, and one definition need not be in a list."""
    assert f"tools.\n{written}\n" in FORMATS["seed_oss"].prompt(json.loads(written), DATE)


def test_gemma4_declares_what_a_tool_gives_back() -> None:
    about = {"name": "f", "response": {"type": "object", "description": "the tide"}}
    assert (
        FORMATS["gemma4"]
        .prompt([about], DATE)
        .endswith('f{description:<|"|><|"|>,response:{description:<|"|>the tide<|"|>,type:<|"|>OBJECT<|"|>}}')
    )
    about["response"] = {"type": "string"}
    assert FORMATS["gemma4"].prompt([about], DATE).endswith(",response:{}}")


# --- what goes in and cannot be written -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["glm4_moe", "lfm2", "minimax2", "qwen3_5", "seed_oss"])
def test_arguments_that_are_no_object_are_refused_where_each_is_written(name: str) -> None:
    with pytest.raises(ToolFormatError, match="no object") as caught:
        FORMATS[name].calls([ToolCall("f", ["a"])])
    assert rules()[caught.value.rule].fixed, "what cannot be written is an error, whatever the policy"


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (None, "{null}"),
        ([1, "a"], '{[1,<|"|>a<|"|>]}'),
        (5, "{5}"),
        (False, "{false}"),
        ("a b", "{a b}"),
        ({"a": math.nan}, "{a:nan}"),
        ({"a": [math.inf, -math.inf, 1e16]}, "{a:[inf,-inf,1e+16]}"),
    ],
)
def test_gemma4_writes_any_arguments_as_upstream_does(arguments: object, written: str) -> None:
    assert FORMATS["gemma4"].calls([ToolCall("f", arguments)]) == f"<|tool_call>call:f{written}<tool_call|>"


@pytest.mark.parametrize("name", ["default", "glm4", "llama3", "ling", "minimax1", "mistral", "qwen"])
def test_arguments_of_any_kind_are_written_where_they_stay_json(name: str) -> None:
    assert '["a"]' in FORMATS[name].calls([ToolCall("f", ["a"])])


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_text_beyond_ascii_is_written_as_it_is(name: str) -> None:
    call = ToolCall("查询", {"城市": "北京"})
    assert "查询" in FORMATS[name].calls([call])
    assert "北京" in FORMATS[name].calls([call])
    listed = [{"name": "t", "description": "潮汐", "parameters": {"type": "object", "properties": {}}}]
    assert "潮汐" in FORMATS[name].prompt(listed, DATE)


def test_enumerations_and_items_stand_in_the_default_format() -> None:
    about = {"type": "array", "description": "d", "enum": ["x", 2], "items": {"type": "string"}}
    listed = [{"name": "t", "parameters": {"properties": {"a": about}, "required": []}}]
    line = "  - a (array): d, should be one of [x, 2], where each item should be string\n"
    assert line in FORMATS["default"].prompt(listed, DATE)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_tool_without_parameters_can_be_listed(name: str) -> None:
    assert "ping" in FORMATS[name].prompt([{"name": "ping", "description": "says pong"}], DATE)


# --- dates, versions, defects -----------------------------------------------------------------------------------------


def test_the_date_is_the_one_given_and_never_the_clock() -> None:
    assert "Today Date: 05 Mar 1999" in FORMATS["llama3"].prompt(tools(), "1999-03-05")
    others = [name for name in FORMATS if name != "llama3"]
    assert all(FORMATS[name].prompt(tools(), "1999-03-05") == FORMATS[name].prompt(tools(), DATE) for name in others)


@pytest.mark.parametrize("date", ["2026", "21 Nov 2026", "2026-13-01", "2026-00-10", "2026-01-32", "26-01-01", ""])
def test_what_is_no_date_is_refused(date: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the date or int's own
        written_date(date)


def test_the_older_version_differs_in_two_formats() -> None:
    older = "llamafactory-0.9.2"
    assert tool_format("llama3", "llamafactory-0.9.6").parallel
    assert not tool_format("llama3", older).parallel
    assert tool_format("default", older).calls([F]) == goldens()["default"]["one_call"] + "\n"
    assert all(tool_format(name, older) == FORMATS[name] for name in FORMATS if name not in ("default", "llama3"))


def test_an_unknown_format_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        tool_format("qwen9", "llamafactory-0.9.6")


@pytest.mark.parametrize(
    ("name", "excluded"),
    [("glm4_moe", "</tool_call>"), ("minimax2", "<minimax:tool_call>"), ("seed_oss", "<function=f>")],
)
def test_a_named_defect_is_one(name: str, excluded: str) -> None:
    """The finding must not outlive the defect: should the text ever be repaired, its name has to go."""
    assert name in DEFECTS
    assert excluded not in FORMATS[name].calls([F])


# --- any call ---------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
calls = st.lists(
    st.builds(
        ToolCall, st.text("abc_", min_size=1, max_size=6), st.dictionaries(st.text(max_size=5), json_values, max_size=3)
    ),
    min_size=1,
    max_size=3,
)


@given(calls)
def test_calls_written_as_json_read_back_the_same(written: list[ToolCall]) -> None:
    want = [(call.name, call.arguments) for call in written]
    listed = json.loads(FORMATS["mistral"].calls(written))
    assert [(call["name"], call["arguments"]) for call in listed] == want
    listed = json.loads(FORMATS["llama3"].calls(written))
    listed = [listed] if len(written) == 1 else listed
    assert [(call["name"], call["parameters"]) for call in listed] == want
    lines = [line for line in FORMATS["qwen"].calls(written).split("\n") if line.startswith("{")]
    assert [(call["name"], call["arguments"]) for call in map(json.loads, lines)] == want


@given(calls, st.sampled_from(sorted(FORMATS)))
def test_any_call_can_be_written_and_always_the_same_way(written: list[ToolCall], name: str) -> None:
    form = FORMATS[name]
    some = written if form.parallel else written[:1]
    text = form.calls(some)
    assert text == form.calls(some)
    assert all(call.name in text for call in some)
