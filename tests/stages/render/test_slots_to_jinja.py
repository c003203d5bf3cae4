"""An exported chat template writes what was trained: for every template, slots and Jinja give one text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.templates import load_template, template_names
from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.core.segments import Rendered
from stages.render.jinja.messages import Dialect, Prepared, prepare
from stages.render.jinja.sandbox.process import Wall
from stages.render.jinja.sandbox.requests import Item, Outcome, Program
from stages.render.parity import CASES
from stages.render.slot_renderer import Renderer, RenderOptions
from stages.render.slots_to_jinja import to_jinja
from stages.render.tools_to_jinja import quoted
from stages.tokenize.fitted import SpecialIds

DATE = "2026-11-21"
WRITTEN = {name: to_jinja(load_template(name), template_date=DATE) for name in template_names()}
NO_TOOLS = {"gemma4", "gemma4n", "phi4_mini"}  # notations of their own for tool definitions
NO_CALLS = {"gemma4", "gemma4n"}
MANY = Conversation(
    (
        Message("user", "q"),
        Message(
            "function",
            "Let me see.",
            calls=(
                ToolCall("tide", {"harbour": "Brest", "hours": 3, "deep": {"x": [1, None]}}),
                ToolCall("tide", {}),
                ToolCall("add", {"a": 'quote " and \\ and é'}),
            ),
        ),
        Message("observation", "r"),
        Message("assistant", "a"),
    ),
    tools='[{"name": "tide", "description": "d", "parameters": {"type": "object", "properties": {"harbour": {"type": '
    '"string", "description": "n", "enum": ["Brest", 3]}, "hours": {"type": "array", "description": "h", "items": '
    '{"type": "integer"}}}, "required": ["harbour"]}}, {"name": "add", "description": "e", "parameters": {}}]',
)
RECORDS = [*(case.conversation for case in CASES), MANY]


@pytest.fixture(scope="module")
def wall() -> Iterator[Wall]:
    sources = {name: written.source for name, written in WRITTEN.items()}
    with Wall(Program(sources, {"bos_token": "<BOS>", "eos_token": "<EOS>"})) as wall:
        yield wall


def ids_of(name: str) -> SpecialIds:
    tokens = tuple((token, 900_010 + place) for place, token in enumerate(load_template(name).tokens()))
    return SpecialIds(900_001, 900_002, "<EOS>", "<BOS>", tokens)


def text_of(rendered: Rendered, ids: SpecialIds, segments: int = 2) -> str:
    known = {ids.bos: "<BOS>", ids.eos: "<EOS>", **{number: token for token, number in ids.tokens}}
    pieces = [
        piece for segment in (rendered.segments[:segments] if segments == 1 else rendered.segments) for piece in segment
    ]
    return "".join(piece if isinstance(piece, str) else known[piece] for piece in pieces)


def from_slots(name: str, record: Conversation, kind: str, *, thinking: bool = True) -> str | None:
    """The slots' own text: the reference. None where the template cannot write the record."""
    template, ids = load_template(name), ids_of(name)
    options = RenderOptions(kind=kind, enable_thinking=thinking, template_date=DATE)
    notes: list[Note] = []
    rendered = Renderer(template, options, ids).render(record, notes)
    if rendered is None:
        return None
    text = text_of(rendered, ids, 1 if kind == "prompt" else 2)
    return text + "<EOS>" if template.efficient_eos and kind == "lm" else text


def from_jinja(wall: Wall, name: str, records: list[Conversation], *, generate: bool = False) -> list[Outcome]:
    items = []
    for record in records:
        ready = prepare(record, Dialect(), "none")
        assert isinstance(ready, Prepared)
        items.append(Item(name, ready.messages, ready.tools, generate))
    return wall.render(items)


def writable(name: str, record: Conversation) -> bool:
    calls = any(message.calls for message in record.messages)
    return not (record.tools and name in NO_TOOLS) and not (calls and name in NO_CALLS)


@pytest.mark.parametrize("name", template_names())
def test_the_exported_template_writes_the_slots_text(wall: Wall, name: str) -> None:
    # a reasoning template strips the thoughts of earlier answers, as rows of one answer do
    kind = "unpaired" if load_template(name).reasoning else "lm"
    for record, outcome in zip(RECORDS, from_jinja(wall, name, RECORDS), strict=True):
        expected = from_slots(name, record, kind)
        if expected is None:
            continue
        if writable(name, record):
            assert outcome.error == "", outcome
            assert outcome.text == expected
        else:
            assert outcome.error == "refused"
            assert "writes no tool" in outcome.message


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("name", ["qwen", "qwen3", "llama3", "mistral", "glm4", "deepseekr1", "gemma3", "default"])
def test_the_prompt_is_the_one_that_was_trained(name: str, thinking: bool) -> None:
    variables = {"bos_token": "<BOS>", "eos_token": "<EOS>", "enable_thinking": thinking}
    records = [Conversation(record.messages[:-1], record.system, tools=record.tools) for record in RECORDS]
    with Wall(Program({name: WRITTEN[name].source}, variables)) as wall:
        outcomes = from_jinja(wall, name, records, generate=True)
    for record, outcome in zip(records, outcomes, strict=True):
        assert outcome.error == ""
        expected = from_slots(name, record, "prompt", thinking=thinking)
        if expected is not None:
            assert outcome.text == expected


def test_which_templates_cannot_write_tools_is_known() -> None:
    assert {name for name, written in WRITTEN.items() if not written.prompts_tools} == NO_TOOLS
    assert {name for name, written in WRITTEN.items() if not written.writes_calls} == NO_CALLS


def test_settings_of_the_run_are_in_the_export() -> None:
    template = load_template("qwen")
    settled = to_jinja(template, default_system="Be short.", tool_format_name="llama3", template_date="2001-02-03")
    assert "Be short." in settled.source
    assert "You are Qwen" not in settled.source
    assert "03 Feb 2001" in settled.source
    assert not settled.source.startswith("{%- macro")


def test_an_unknown_role_is_refused_and_not_omitted(wall: Wall) -> None:
    outcome = wall.render([Item("qwen", [{"role": "critic", "content": "no"}])])[0]
    assert outcome.error == "refused"


@pytest.mark.parametrize("text", ["", "it's", "back\\slash", "a\nb\tc\r", "{{ no }} {% raw %}", "汉字 😀"])
def test_any_text_can_be_a_literal(text: str) -> None:
    with Wall(Program({"x": "{{ " + quoted(text) + " }}"})) as wall:
        assert wall.render([Item("x", [])])[0].text == text
