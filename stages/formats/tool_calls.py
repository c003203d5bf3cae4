"""Tool calls written as text: the content of a ShareGPT `function_call` turn, and OpenAI's `tool_calls`.

    {"name": "f", "arguments": {...}}                         one call
    [{"name": "f", "arguments": {...}}, {"name": "g", ...}]   several
    <think>\n...\n</think>\n\n{"name": ...}                   a thought in front stays as the text beside the calls
    ... <tool_call>{"name": ...}</tool_call> ...              what stands around the block goes in front of it

The words around a thought and around a call are the template's, where it is known (LLaMA-Factory looks for no others);
what stands between a thought and its call is dropped. A text that is JSON as a whole is a call, whatever its arguments
hold. Where LLaMA-Factory's words do not fit and it would stop, a thought in <think> tags is read all the same.

Arguments given as JSON text are decoded (LLaMA-Factory would write them twice encoded). Of several `<tool_call>` blocks
LLaMA-Factory parses only the first; here each is a call, in order, and a note says so.

Tool calls out: as the text of a ShareGPT `function_call` turn, and as OpenAI's `tool_calls`.

    {"name": "f", "arguments": {...}}                            one call
    [{"name": "f", "arguments": {...}}, {"name": "g", ...}]      several
    <think>...</think>{"name": ...}                              a thought beside the calls
    Let me see.<tool_call>{"name": ...}</tool_call>              any other text beside them

`calls.read_calls` reads each of them back to the same text and the same calls. A call without an id gets "call00001",
counted over the record, in OpenAI's form, which cannot do without; the same id is left out of the text form, so that
neither direction invents anything that the other keeps.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any, NamedTuple

import orjson

from stages.core.conversation import Message, ToolCall
from stages.core.display import shown
from stages.core.findings import Note

_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in typeshed
_ANY_THOUGHT = re.compile(r"<think>.*?</think>\s*", re.DOTALL)


class CallWords(NamedTuple):
    """How a template writes calls: the words before and after a thought, and before and after a call; tools: what a
    record's tools may be (see stages.validate.tools.parse_tools); own_template: the template is the tokenizer's own."""

    thought: tuple[str, str] = ("<think>\n", "\n</think>\n\n")
    call: tuple[str, str] = ("<tool_call>", "</tool_call>")
    tools: str = "list"
    own_template: bool = False


USUAL_WORDS = CallWords()


@functools.cache
def _between(words: tuple[str, str]) -> re.Pattern[str]:
    return re.compile(f"{re.escape(words[0])}(.*?){re.escape(words[1])}", re.DOTALL)


def read_calls(
    text: str, at: str, notes: list[Note], words: CallWords = USUAL_WORDS
) -> tuple[str, tuple[ToolCall, ...]] | None:
    """The text beside the calls, and the calls; None after a note. `at` is the pointer of the text."""
    beside = ""
    bodies = [text]
    block = _between(words.call)
    if words.call[0] in text and (found := block.findall(text)):
        bodies = found
        beside = block.sub("", text)
        if len(bodies) > 1:
            message = f"{len(bodies)} {words.call[0]} blocks in one turn: read as parallel calls"
            notes.append(Note("tools.call-blocks", at, message, shown(text)))
    elif (words.thought[0] in text or "<think>" in text) and not _is_json(text):
        thought = _between(words.thought).search(text) or _ANY_THOUGHT.search(text)
        if thought is not None:
            beside = thought[0]
            bodies = [text.replace(beside, "", 1)]
    calls: list[ToolCall] = []
    for body in bodies:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            notes.append(Note("tools.call-not-json", at, f"a tool call must be JSON: {reason}", shown(text)))
            return None
        for item in value if isinstance(value, list) else [value]:
            call = _call(item, at, notes)
            if call is None:
                return None
            calls.append(call)
    if not calls:
        notes.append(Note("tools.call-not-json", at, "the list of tool calls is empty", shown(text)))
        return None
    return beside, tuple(calls)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _call(item: object, at: str, notes: list[Note]) -> ToolCall | None:
    if not isinstance(item, dict):
        notes.append(
            Note("tools.call-not-json", at, 'a tool call must be an object with "name" and "arguments"', shown(item))
        )
        return None
    name = item.get("name")
    if not isinstance(name, str) or not name:
        notes.append(Note("tools.call-no-name", at, "the tool call has no name", shown(item)))
        return None
    if "arguments" not in item:
        notes.append(
            Note("tools.call-no-arguments", at, f'the call of "{shown(name, 40)}" has no "arguments"', shown(item))
        )
        return None
    arguments = item["arguments"]
    if isinstance(arguments, str):
        text = arguments
        decoded, arguments = decode_arguments(text, name, at, notes)
        if not decoded:
            return None
        message = f'the arguments of "{shown(name, 40)}" are JSON text inside JSON; read as the value they hold'
        notes.append(Note("tools.arguments-encoded", at, message, shown(text)))
    call_id = item.get("id")
    return ToolCall(name, arguments, call_id if isinstance(call_id, str) else None)


def decode_arguments(text: str, name: str, at: str, notes: list[Note]) -> tuple[bool, object]:
    """(True, value) of arguments given as JSON text; (False, None) after a note. Empty text is the empty object."""
    if text[:1] == "{" and text[-1:] == "}":  # as nearly all; the decoder's own way in looks for white space twice
        try:
            value, end = _scan(text, 0)
            if end == len(text):
                return True, value
        except (ValueError, RecursionError, StopIteration):
            pass  # said below
    if not text.strip():
        return True, {}
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        message = f'the arguments of "{shown(name, 40)}" are not JSON: {reason}'
        notes.append(Note("tools.arguments-not-json", at, message, shown(text)))
        return False, None


def openai_calls(raw: list[dict[str, object]], at: str, notes: list[Note]) -> tuple[ToolCall, ...] | None:
    """The calls of a message's `tool_calls`; None after a note. `at` is the pointer of the list."""
    calls = []
    for index, item in enumerate(raw):
        function = item["function"]
        assert isinstance(function, dict)  # the schema has been applied
        call = openai_call(function, f"{at}/{index}/function", item.get("id"), notes)
        if call is None:
            return None
        calls.append(call)
    return tuple(calls)


def openai_call(function: dict[str, object], at: str, call_id: object, notes: list[Note]) -> ToolCall | None:
    """One call from its `function` object."""
    name = function["name"]
    arguments = function["arguments"]
    assert isinstance(name, str)  # the schema has been applied
    if isinstance(arguments, str):
        decoded, arguments = decode_arguments(arguments, name, at + "/arguments", notes)
        if not decoded:
            return None
    return ToolCall(name, arguments, call_id if isinstance(call_id, str) else None)


_ONLY_THOUGHT = re.compile(r"<think>.*?</think>\s*", re.DOTALL)


def given_id(number: int) -> str:
    """The id of the record's call `number` (0-based): nine letters and digits, which every vendor accepts."""
    return f"call{number + 1:05d}"


def json_text(value: object) -> str:
    """JSON as LLaMA-Factory writes it: blanks behind commas and colons, text of any script as it is."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:  # a number that is kept as its text
        return orjson.dumps(value).decode()


def calls_text(message: Message, number: int) -> str:
    """The calls of a function turn, and the text beside them, as one text. number: calls of the record before it."""
    listed = [_named(call, number + index) for index, call in enumerate(message.calls)]
    text = json_text(listed[0] if len(listed) == 1 else listed)
    if "<tool_call>" in text or "<think>" in text or "</tool_call>" in text:
        text = text.replace("<", "\\u003c")  # a mark inside an argument would be read as one around the call
    beside = message.content
    if not beside:
        return text
    if _ONLY_THOUGHT.fullmatch(beside):
        return beside + text
    return f"{beside}<tool_call>{text}</tool_call>"


def _named(call: ToolCall, number: int) -> dict[str, object]:
    entry: dict[str, object] = {"name": call.name, "arguments": call.arguments}
    if call.id is not None and call.id != given_id(number):
        entry["id"] = call.id
    return entry


def calls_list(message: Message, number: int) -> list[dict[str, Any]]:
    """The calls of a function turn as `tool_calls`. number: calls of the record before it."""
    return [
        {
            "id": given_id(number + index) if call.id is None else call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json_text(call.arguments)},
        }
        for index, call in enumerate(message.calls)
    ]
