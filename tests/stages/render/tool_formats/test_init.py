"""Tool lists and calls are written as LLaMA-Factory writes them, character by character."""

from __future__ import annotations

import json
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
from tests.support.tool_calls import tool_calls

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


# --- what goes in and cannot be written -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["glm4_moe", "lfm2", "minimax2", "qwen3_5", "seed_oss"])
def test_arguments_that_are_no_object_are_refused_where_each_is_written(name: str) -> None:
    with pytest.raises(ToolFormatError, match="no object") as caught:
        FORMATS[name].calls([ToolCall("f", ["a"])])
    assert rules()[caught.value.rule].fixed, "what cannot be written is an error, whatever the policy"


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


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_tool_without_parameters_can_be_listed(name: str) -> None:
    assert "ping" in FORMATS[name].prompt([{"name": "ping", "description": "says pong"}], DATE)


# --- dates, versions, defects -----------------------------------------------------------------------------------------


def test_the_date_is_the_one_given_and_never_the_clock() -> None:
    assert "Today Date: 05 Mar 1999" in FORMATS["llama3"].prompt(tools(), "1999-03-05")
    others = [name for name in FORMATS if name != "llama3"]
    assert all(FORMATS[name].prompt(tools(), "1999-03-05") == FORMATS[name].prompt(tools(), DATE) for name in others)


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


@given(tool_calls, st.sampled_from(sorted(FORMATS)))
def test_any_call_can_be_written_and_always_the_same_way(written: list[ToolCall], name: str) -> None:
    form = FORMATS[name]
    some = written if form.parallel else written[:1]
    text = form.calls(some)
    assert text == form.calls(some)
    assert all(call.name in text for call in some)
