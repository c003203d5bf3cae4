"""Tools and arguments are JSON in a text of the record, so anything may stand there: each record is rendered, or
rejected with an error that says why; none ends the run."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.rules import Policy, rules
from registry.templates import load_template, template_names
from stages.core.findings import Note
from stages.core.segments import Rendered
from stages.formats.table import FORMATS
from stages.formats.tool_calls import CallWords
from stages.render.jinja.chat_template import AutoTemplate
from stages.render.jinja.segmenter import Segmenter, SegmenterSpec
from stages.render.slot_renderer import Renderer, RenderOptions
from stages.render.tool_formats import FORMATS as TOOL_FORMATS
from stages.render.tool_formats import tools_written_as
from stages.tokenize.backends import ReferenceEncoder
from stages.tokenize.batch import encode
from stages.tokenize.fitted import fit
from stages.tokenize.tokenizer_files import load_tokenizer_files
from stages.validate.record import RecordValidator

FIXTURES = Path(__file__).parents[2] / "fixtures"
FILES = load_tokenizer_files(str(FIXTURES / "tiny"))
WRITERS = [("qwen", name) for name in sorted(TOOL_FORMATS)] + [("phi4_mini", None), ("gemma4", None)]
# every rule as low as a policy may set it: what is still rejected must be rejected by an error all the same
LENIENT = Policy.make("sft", {rule.id: "off" for rule in rules().values() if not rule.fixed})

# --- anything ---------------------------------------------------------------------------------------------------------

texts = st.text(max_size=5) | st.sampled_from(["object", "string", "\ud800", "a\udfff", '"', "{}", "#/x", "\0"])
keys = texts | st.sampled_from(
    ["name", "description", "parameters", "type", "function", "properties", "required", "enum", "items", "response",
     "$ref", "maximum", "pattern", "multipleOf"]
)  # fmt: skip
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**64, -(10**40), "<long>"])  # Python writes no integer of over 4,300 digits: see _text
    | st.floats()
    | st.just(math.nan)
    | texts
)


def _nested(depth: int, inner: Any) -> Any:
    for level in range(depth):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


values = st.recursive(
    scalars | st.builds(_nested, st.sampled_from([60, 70, 300]), scalars),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
schemas = st.fixed_dictionaries({}, optional=dict.fromkeys(("type", "properties", "required", "$ref"), values))
bare = st.fixed_dictionaries(
    {"name": st.just("f") | texts}, optional={"description": values, "parameters": schemas | values, "response": values}
)
listed = st.lists(bare | st.builds(lambda tool: {"type": "function", "function": tool}, bare) | values, max_size=3)


def _text(value: Any) -> str:
    return json.dumps(value).replace('"<long>"', "1" + "0" * 5000)


json_texts = values.map(_text)
tool_texts = listed.map(_text) | json_texts | st.sampled_from(["", " ", "[", "nul"])


def conversation(tools: str, arguments: str, call_id: str = '"c"') -> dict[str, Any]:
    call = f'{{"name": "f", "id": {call_id}, "arguments": {arguments}}}'
    turns = [("human", "q"), ("function_call", call), ("observation", "r"), ("gpt", "a")]
    return {"conversations": [{"from": who, "value": text} for who, text in turns], "tools": tools}


# --- templates of ours ------------------------------------------------------------------------------------------------


@functools.cache
def writer(name: str, tool_format: str | None) -> tuple[RecordValidator, Renderer, ReferenceEncoder]:
    template = load_template(name)
    made = fit(FILES, template)
    form = FORMATS["sharegpt"]
    validator = RecordValidator(
        form.id, form.default_fields, "sft", LENIENT, (), CallWords(tools=tools_written_as(template, tool_format))
    )
    return (
        validator,
        Renderer(template, RenderOptions(tool_format=tool_format), made.ids),
        ReferenceEncoder(made.json_text),
    )


def written(record: dict[str, Any], name: str, tool_format: str | None) -> tuple[Rendered | None, list[Note]]:
    """The rendered record, whose pieces the tokenizer takes, and the notes."""
    validator, renderer, encoder = writer(name, tool_format)
    notes: list[Note] = []
    found = validator.check(record, notes)
    rendered = renderer.render(found, notes) if found is not None else None
    if rendered is not None:
        encode([rendered], encoder)
    return rendered, notes


def is_error(notes: list[Note]) -> bool:
    return any(LENIENT.severity(note.rule) == "error" for note in notes)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tool_texts, json_texts, st.sampled_from(WRITERS))
def test_any_tools_and_arguments_are_written_or_rejected_with_an_error(
    tools: str, arguments: str, how: tuple[str, str | None]
) -> None:
    rendered, notes = written(conversation(tools, arguments), *how)
    assert rendered is not None or is_error(notes)


@pytest.mark.parametrize("how", WRITERS)
@pytest.mark.parametrize(
    "schema", ['{"maximum": 100000000000000000000000}', '{"maximum": NaN}', '{"enum": [1e999]}', '{"const": -Infinity}']
)
def test_numbers_that_only_some_readers_take_are_written_as_they_are(how: tuple[str, str | None], schema: str) -> None:
    """As upstream writes them, where the schema is written at all; without a limit of 64 bits."""
    tools = f'[{{"name": "f", "parameters": {{"type": "object", "properties": {{"a": {schema}}}}}}}]'
    rendered, notes = written(conversation(tools, '{"a": 100000000000000000000000}'), *how)
    assert rendered is not None, notes
    text = "".join(piece for segment in rendered.segments for piece in segment if isinstance(piece, str))
    assert "100000000000000000000000" in text
    if how[1] in ("qwen", "mistral", "ling", "seed_oss"):
        assert schema.replace("1e999", "Infinity") in text


@pytest.mark.parametrize("how", WRITERS)
@pytest.mark.parametrize("depth", [65, 300, 900, 5000])
@pytest.mark.parametrize("place", ["tools", "arguments"])
def test_nesting_without_end_is_an_error_of_its_record(how: tuple[str, str | None], depth: int, place: str) -> None:
    deep = "[" * depth + "]" * depth
    tools, arguments = '[{"name": "f"}]', '{"a": 1}'
    if place == "tools":
        tools = f'[{{"name": "f", "parameters": {{"x": {deep}}}}}]'
    else:
        arguments = f'{{"a": {deep}}}'
    rendered, notes = written(conversation(tools, arguments), *how)
    assert rendered is None
    assert {note.rule for note in notes} & {"json.depth", "tools.call-not-json"}


@pytest.mark.parametrize("how", WRITERS)
@pytest.mark.parametrize(
    ("tools", "arguments"),
    [
        (r'[{"name": "f", "description": "\ud800"}]', "{}"),
        (r'[{"name": "f", "parameters": {"\udc00": 1}}]', "{}"),
        (r'[{"name": "\uD800"}]', "{}"),
        ('[{"name": "f"}]', r'{"a": "\ud800"}'),
        ('[{"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}]', r'{"\ud800": ["\udfff"]}'),
    ],
)
def test_half_a_surrogate_pair_is_an_error_of_its_record(
    how: tuple[str, str | None], tools: str, arguments: str
) -> None:
    rendered, notes = written(conversation(tools, arguments), *how)
    assert rendered is None
    assert "json.lone-surrogate" in {note.rule for note in notes}


@pytest.mark.parametrize("tools", ["{}", '""'])
@pytest.mark.parametrize("how", WRITERS)
def test_empty_tools_of_another_type_are_no_tools(how: tuple[str, str | None], tools: str) -> None:
    """Upstream writes the block of the system prompt, and nothing of tools in it."""
    rendered, notes = written(conversation(tools, "{}"), *how)
    assert rendered is not None
    assert "tools.as-written" in {note.rule for note in notes}
    if how != ("phi4_mini", None):
        assert rendered == written(conversation("[]", "{}"), *how)[0]


@pytest.mark.parametrize("tools", ['{"name": "f"}', "5", "[5]", " \n", '{"a": [1.50]}'])
def test_a_template_that_writes_tools_as_they_stand_takes_any(tools: str) -> None:
    rendered, notes = written(conversation(tools, "{}"), "phi4_mini", None)
    assert rendered is not None
    assert any(f"<|tool|>{tools}<|/tool|>" in str(piece) for piece in rendered.segments[0])
    assert "tools.as-written" in {note.rule for note in notes}
    rendered, notes = written(conversation(tools, "{}"), "qwen", None)
    assert rendered is None
    assert is_error(notes)


def test_every_template_says_what_tools_it_can_write() -> None:
    said = {name: tools_written_as(load_template(name), None) for name in template_names()}
    assert {name for name, how in said.items() if how == "text"} == {"phi4_mini"}
    assert "seed_oss" in {name for name, how in said.items() if how == "json"}
    assert tools_written_as(load_template("phi4_mini"), "qwen") == "list"


# --- template: auto ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def auto() -> Iterator[tuple[RecordValidator, Segmenter]]:
    source = (FIXTURES / "jinja" / "good" / "chatml.jinja").read_text(encoding="utf-8")
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    form = FORMATS["sharegpt"]
    validator = RecordValidator(form.id, form.default_fields, "sft", LENIENT)
    encoder = writer("qwen", None)[2]
    with Segmenter(SegmenterSpec(AutoTemplate({"default": source}, tokens, ())), encoder.tokenizer) as segments:
        yield validator, segments


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tools=tool_texts, arguments=json_texts, call_id=json_texts)
def test_the_tokenizers_own_template_takes_any_tools_and_arguments(
    auto: tuple[RecordValidator, Segmenter], tools: str, arguments: str, call_id: str
) -> None:
    validator, segments = auto
    notes: list[Note] = []
    found = validator.check(conversation(tools, arguments, call_id), notes)
    assert (found is not None and segments.render(found, notes) is not None) or is_error(notes)


def test_the_tokenizers_own_template_writes_integers_of_any_size(auto: tuple[RecordValidator, Segmenter]) -> None:
    validator, segments = auto
    notes: list[Note] = []
    tools = '[{"name": "f", "parameters": {"maximum": 100000000000000000000000, "minimum": NaN}}]'
    found = validator.check(conversation(tools, '{"a": 200000000000000000000000}'), notes)
    assert found is not None
    text = segments.renderer.plain([found])[0]
    assert not isinstance(text, Note), text
    assert '"maximum": 100000000000000000000000, "minimum": NaN' in text.text
    assert '"a": 200000000000000000000000' in text.text
