"""`template: auto` beside transformers: the same text wherever both write one, and only the assistant's own is trained.

Every Jinja fixture, every chat template that TRL ships (where it is installed) and every tokenizer folder under
PREP_ASSETS/tok render the same conversations: parallel results, text beside calls, thoughts under every key, names, two
system messages. A record that we cannot prove is refused by a rule, never rendered otherwise.
"""

from __future__ import annotations

import copy
import datetime
import itertools
import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from registry.datasets.types import Fields
from registry.errors import UsageFault
from stages.core.conversation import Conversation
from stages.core.findings import Note
from stages.formats.openai import Reader
from stages.render.jinja.chat_template import AutoTemplate, load_auto
from stages.render.jinja.renderer import AutoOptions, AutoRenderer
from stages.render.jinja.token_spans import RenderedText

FIXTURES = Path(__file__).parents[2] / "fixtures" / "jinja" / "good"
TODAY = datetime.date.today().isoformat()
FIELDS = Fields(
    messages="messages", tools="tools", role_tag="role", content_tag="content", user_tag="user",
    assistant_tag="assistant", observation_tag="tool", system_tag="system",
)  # fmt: skip
THOUGHT_KEYS = ("reasoning_content", "thinking", "reasoning", "thought", "reasoning_text")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_nest",
            "description": "Where a bird nests",
            "parameters": {
                "type": "object",
                "properties": {"bird": {"type": "string", "description": "its name"}},
                "required": ["bird"],
            },
        },
    }
]
_NUMBERS = itertools.count()


def said(who: str) -> str:
    """Words that occur once in all conversations; `who` says whose they are."""
    return f"The {who}{next(_NUMBERS)} word."


def system() -> dict[str, Any]:
    return {"role": "system", "content": said("sys")}


def user(**keys: Any) -> dict[str, Any]:
    return {"role": "user", "content": said("usr"), **keys}


def answer(**keys: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": said("own"), **keys}


def call(*ids: str, text: str = "", **keys: Any) -> dict[str, Any]:
    calls = [
        {"id": key, "type": "function", "function": {"name": "find_nest", "arguments": {"bird": said("own")}}}
        for key in ids
    ]
    return {"role": "assistant", "content": text, "tool_calls": calls, **keys}


def result(key: str, **keys: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": key, "content": said("res"), **keys}


ONE, TWO = "abcdefgh1", "abcdefgh2"  # ids that no template rejects


def conversations() -> dict[str, list[dict[str, Any]]]:
    return {
        "plain": [user(), answer()],
        "system": [system(), user(), answer()],
        "four turns": [user(), answer(), user(), answer()],
        "six turns under a system prompt": [system(), user(), answer(), user(), answer(), user(), answer()],
        "white space": [user(), {"role": "assistant", "content": f"  {said('own')} \n"}, user(), answer()],
        "call": [user(), call(ONE), result(ONE), answer()],
        "call under a system prompt": [system(), user(), call(ONE), result(ONE), answer()],
        "call at the end": [user(), call(ONE)],
        "text and call": [user(), call(ONE, text=said("own")), result(ONE), answer()],
        "text and call at the end": [user(), call(ONE, text=said("own"))],
        "parallel": [user(), call(ONE, TWO), result(ONE), result(TWO), answer()],
        "parallel with names": [
            user(), call(ONE, TWO), result(ONE, name="find_nest"), result(TWO, name="find_nest"), answer(),
        ],
        "parallel with text": [user(), call(ONE, TWO, text=said("own")), result(ONE), result(TWO), answer()],
        "parallel twice": [
            user(), call(ONE, TWO), result(ONE), result(TWO), answer(), user(), call("abcdefgh3", "abcdefgh4"),
            result("abcdefgh3"), result("abcdefgh4"), answer(),
        ],
        "call after call": [user(), call(ONE), result(ONE), call(TWO), result(TWO), answer()],
        **{f"thought under {key}": [user(), answer(**{key: said("own")})] for key in THOUGHT_KEYS},
        "thoughts in two turns": [user(), answer(thinking=said("own")), user(), answer(reasoning=said("own"))],
        "thought before a call": [user(), call(ONE, reasoning=said("own")), result(ONE), answer(thought=said("own"))],
        "thought in the text": [user(), {"role": "assistant", "content": f"<think>\n{said('own')}\n</think>\n\nYes."}],
        "names": [user(name="ann"), answer(name="bob")],
        "names in four turns": [user(name="ann"), answer(name="bob"), user(name="eve"), answer()],
        "two systems": [system(), user(), answer(), system(), user(), answer()],
        "two users": [user(), user(), answer()],
        "user after a result": [user(), call(ONE), result(ONE), user(), answer()],
        "result without a call": [user(), answer(), result(ONE), answer()],
    }  # fmt: skip


def templates() -> dict[str, Path]:
    found = {f"fixture {path.stem}": path for path in sorted(FIXTURES.glob("*.jinja"))}
    trl = find_spec("trl")
    if trl is not None and trl.submodule_search_locations:
        folder = Path(trl.submodule_search_locations[0]) / "chat_templates"
        found |= {f"trl {path.stem}": path for path in sorted(folder.glob("*.jinja"))}
    assets = os.environ.get("PREP_ASSETS")
    if assets:
        found |= {f"model {path.name}": path for path in sorted((Path(assets) / "tok").iterdir())}
    return found


_TOKEN = re.compile(r"<[|\uff5c/]?[^\s<>{}'\"%]{1,40}?>|\[/?[A-Z_]{3,24}\]")


def loaded(path: Path) -> AutoTemplate:
    if path.is_dir():
        try:
            return load_auto(str(path))
        except UsageFault as fault:  # there is no chat template
            pytest.skip(fault.problems[0])
    source = path.read_text(encoding="utf-8")
    added = sorted({*_TOKEN.findall(source), "<s>", "</s>"}, key=lambda text: (-len(text), text))
    return AutoTemplate(
        {"default": source}, {"bos_token": "<s>", "eos_token": "</s>"}, tuple(added), bos="<s>", sha256=source
    )


def theirs(template: AutoTemplate, record: dict[str, Any], renderer: AutoRenderer) -> str | None:
    """The text of transformers; None when the template refuses."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    tools = record["tools"] or None
    name = template.name_for(bool(tools))
    dialect = renderer.traits(bool(tools)).dialect
    messages = copy.deepcopy(record["messages"])
    for message in messages:
        thought = next((message.pop(key) for key in THOUGHT_KEYS if key in message), None)
        if thought is not None:
            message["thinking"] = message["reasoning_content"] = thought
        if message.get("tool_calls"):
            message["content"] = message["content"] or (None if dialect.null_content else "")
            for one in message["tool_calls"]:
                if dialect.text_arguments:
                    one["function"]["arguments"] = json.dumps(one["function"]["arguments"], ensure_ascii=False)
    try:
        texts, _ = utils.render_jinja_template(
            conversations=[messages], tools=tools, chat_template=template.sources[name], **template.variables
        )
    except Exception:
        return None
    text: str = texts[0]
    return text


@pytest.mark.parametrize("path", [pytest.param(path, id=name) for name, path in templates().items()])
def test_the_text_is_transformers_own_and_only_the_assistant_is_trained(path: Path) -> None:
    template = loaded(path)
    read = Reader(FIELDS, "sft")
    read.turns.own_template = True
    records = {
        name: {"messages": messages, "tools": TOOLS if any("tool_calls" in message for message in messages) else []}
        for name, messages in conversations().items()
    }
    notes: list[Note] = []
    found = {name: read(record, notes) for name, record in records.items()}
    compared = 0
    with AutoRenderer(template, AutoOptions(template_date=TODAY)) as renderer:
        try:
            renderer.traits()
        except UsageFault as fault:  # written for content in parts: refused by name
            pytest.skip(fault.problems[0])
        read_records: list[Conversation] = []
        for name, one in found.items():
            assert one is not None, (name, notes)
            read_records.append(one)
        ours = renderer.render(read_records)
        for (name, record), rendered in zip(records.items(), ours, strict=True):
            if isinstance(rendered, Note):
                assert rendered.rule.startswith("template."), (name, rendered)
                continue
            text = theirs(template, record, renderer)
            assert text == rendered.text, name
            compared += 1
            only_the_answers(name, record["messages"], rendered)
    assert compared >= 2


def only_the_answers(name: str, messages: list[dict[str, Any]], rendered: RenderedText) -> None:
    trained = "".join(rendered.text[start:end] for start, end in rendered.spans)
    foreign = re.findall(r"(?:usr|res|sys)\d+", trained)
    assert not foreign, (name, trained)
    if any(note.rule == "template.changes-answer" for note in rendered.notes):
        return  # an error: the record is rejected by this name
    dropped = {note.rule for note in rendered.notes} & {"template.thought-dropped"}
    for message in messages:
        if message["role"] == "assistant":
            content = message["content"].rpartition("</think>")[2] if dropped else message["content"]
            words = re.findall(r"own\d+", content)
            words += re.findall(r"own\d+", json.dumps(message.get("tool_calls", [])))
            for word in words:
                assert word in trained, (name, word, trained)
