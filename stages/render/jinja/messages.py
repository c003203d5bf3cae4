"""Messages for a Jinja chat template, from a `Conversation`, with marks that show where each text lands.

Chat templates disagree about what a message looks like, and most of them crash on what OpenAI's API writes. So nulls
become empty texts, arguments become objects, tools get their wrapper, and `Dialect` holds what one template insists on
beyond that (found by trying: `stages.render.jinja.probe`).

Marks are single characters of Unicode's plane 15 (private use, and in no real text), set around every text:

    content      "  <think>\\nhm\\n</think>\\n\\nHello "
    marked       "  <think>\\n⟨hm⟩\\n</think>\\n\\n⟨Hello⟩ "       white space stays outside: `trim` works as before

A template renders the marked and the plain messages; where the marked text without its marks is the plain text, the
marks tell exactly which characters are whose.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.display import shown
from stages.core.findings import Note
from stages.formats.message_keys import given_keys, other_keys

from .record_variables import variables_of

FIRST_MARK = 0xF0000
MAX_PIECES = 30_000  # two marks each, all of them in the plane's 65,534 characters
MARKS = re.compile("[\U000f0000-\U000ffffd]")

_THOUGHT = re.compile(r"(\s*<think>)(.*?)(</think>)(.*)", re.DOTALL)
_NINE = re.compile(r"[A-Za-z0-9]{9}\Z")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Dialect:
    """What a template insists on. null_content: a call without text has content None instead of "".
    text_arguments: arguments as JSON text instead of an object. nine_ids: call ids of nine letters and digits.
    empty_system: a record without a system prompt has an empty one, so that the template writes none of its own.
    """

    null_content: bool = False
    text_arguments: bool = False
    nine_ids: bool = False
    empty_system: bool = False


class Piece(NamedTuple):
    """A marked text. kind: "text" (any turn's words), "thought", "call" (name or argument) or "system".
    message: position in `Conversation.messages`, -1 for the system prompt."""

    kind: str
    message: int
    text: str


class Prepared(NamedTuple):
    """messages and tools for the template; pieces[k] stands between marks 2k and 2k+1. plain: nothing was marked.
    starts: index in `messages` of each of the record's messages (joined tool results are several)."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None
    pieces: list[Piece]
    plain: bool
    starts: tuple[int, ...] = ()


class _Marker:
    """Sets marks and remembers what they surround. `only`: roles that are marked, None = all."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.pieces: list[Piece] = []

    def mark(self, text: str, kind: str, message: int) -> str:
        core = text.strip()
        if not self.enabled or not core or len(self.pieces) >= MAX_PIECES:
            return text
        code = FIRST_MARK + 2 * len(self.pieces)
        self.pieces.append(Piece(kind, message, core))
        lead = len(text) - len(text.lstrip())
        return f"{text[:lead]}{chr(code)}{core}{chr(code + 1)}{text[lead + len(core) :]}"

    def answer(self, text: str, message: int) -> str:
        found = _THOUGHT.match(text)
        if not found:
            return self.mark(text, "text", message)
        opening, thought, closing, rest = found.groups()
        thought = self.mark(thought, "thought", message)
        return f"{opening}{thought}{closing}{self.mark(rest, 'text', message)}"

    def value(self, value: Any, message: int) -> Any:
        if isinstance(value, str):
            return self.mark(value, "call", message)
        if isinstance(value, dict):
            return {key: self.value(item, message) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, message) for item in value]
        return value


def has_marks(record: Conversation) -> bool:
    """Whether the record's own text uses the characters that marks are made of."""
    texts = [record.system or "", record.tools or ""]
    for message in record.messages:
        texts += (message.content, message.reasoning or "")
        for call in message.calls:
            texts += (call.name, _json(call.arguments))
        if message.extras:
            texts += map(_json, message.extras)
    beside = (record.system_keys, variables_of(record))
    texts += [_json(keys) for keys in beside if keys]
    return any(not text.isascii() and MARKS.search(text) for text in texts)


def prepare(record: Conversation, dialect: Dialect, marking: str = "all") -> Prepared | Note:
    """Messages of `record.messages` for a template, or a note when the record holds tools that are not JSON.

    marking: "all" texts, those of "answers" only, or "none".
    """
    tools: list[Any] | None = None
    if record.tools:
        try:
            tools = _tools(record.tools)
        except (ValueError, TypeError, RecursionError) as error:
            return Note("template.refuses", record.tools_at, f"tools are not a JSON list: {error}", shown(record.tools))
    answers, others = _Marker(marking != "none"), _Marker(marking == "all")
    others.pieces = answers.pieces  # one numbering for both
    messages: list[dict[str, Any]] = []
    if record.system:
        messages.append({"role": "system", "content": others.mark(record.system, "system", -1)})
        messages[0].update(other_keys(record.system_keys or {}))
    elif dialect.empty_system and not (record.messages and record.messages[0].role == "system"):
        messages.append({"role": "system", "content": ""})
    ids = _CallIds(record.messages, nine=dialect.nine_ids)
    starts: list[int] = []
    for position, message in enumerate(record.messages):
        starts.append(len(messages))
        if message.role == "assistant":
            messages.append(_answer(message, position, answers))
        elif message.role == "function":
            messages.append(_calls(message, position, answers, dialect, ids))
        elif message.role == "observation":
            results = message.results or (message,)
            call_ids = ids.of_results(position)
            messages += [_result(one, position, others, key) for one, key in zip(results, call_ids, strict=True)]
        else:
            messages.append({"role": message.role, "content": others.mark(message.content, "text", position)})
        if message.role != "observation" and (message.extras or message.name is not None):
            _beside(messages[-1], message)
    return Prepared(messages, tools, answers.pieces, marking == "none", tuple(starts))


def _tools(text: str) -> list[Any] | None:
    tools = json.loads(text)  # not orjson: an integer over 64 bits stays one
    if isinstance(tools, dict) and tools:
        tools = [tools]
    if tools in ({}, ""):
        return None
    if not isinstance(tools, list):
        raise TypeError(f"{type(tools).__name__} instead of a list")
    return [_wrapped(tool) for tool in tools] or None


def _wrapped(tool: Any) -> Any:
    if isinstance(tool, dict) and "name" in tool and "function" not in tool:
        return {"type": "function", "function": {key: item for key, item in tool.items() if key != "type"}}
    return tool


def _answer(message: Message, position: int, marker: _Marker) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "assistant"}
    _reasoning(turn, message, position, marker)
    turn["content"] = marker.answer(message.content, position)
    return turn


def _beside(turn: dict[str, Any], message: Message) -> None:
    """Adds the name and the keys that no reader takes."""
    if message.name is not None:
        turn["name"] = message.name
    for key, value in given_keys(message).items():
        turn.setdefault(key, value)


def _reasoning(turn: dict[str, Any], message: Message, position: int, marker: _Marker) -> None:
    if message.reasoning is not None:
        # gpt-oss reads `thinking`, everybody else `reasoning_content`; transformers fills both as well
        turn["thinking"] = turn["reasoning_content"] = marker.mark(message.reasoning, "thought", position)


def _calls(message: Message, position: int, marker: _Marker, dialect: Dialect, ids: _CallIds) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "assistant"}
    _reasoning(turn, message, position, marker)
    if message.content:
        turn["content"] = marker.answer(message.content, position)
    elif dialect.null_content:
        turn["content"] = None
    else:
        turn["content"] = ""
    turn["tool_calls"] = calls = []
    for number, call in enumerate(message.calls):
        name = marker.mark(call.name, "call", position)
        function = {"name": name, "arguments": _arguments(call, position, marker, dialect)}
        written: dict[str, Any] = {"type": "function", "function": function}
        call_id = ids.of_call(position, number)
        if call_id is not None:
            written["id"] = call_id
        calls.append(written)
    return turn


def _arguments(call: ToolCall, position: int, marker: _Marker, dialect: Dialect) -> Any:
    arguments = call.arguments
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments)
        except (ValueError, RecursionError):
            parsed = None
        arguments = parsed if isinstance(parsed, dict) else arguments
    if dialect.text_arguments:
        return marker.mark(arguments if isinstance(arguments, str) else _json(arguments), "call", position)
    return marker.value(arguments, position)


def _json(value: object) -> str:
    # the separators that templates and LLaMA-Factory write; orjson has none of them
    return json.dumps(value, ensure_ascii=False)


def _result(message: Message, position: int, marker: _Marker, call_id: str | None) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "tool", "content": marker.mark(message.content, "text", position)}
    if call_id is not None:
        turn["tool_call_id"] = call_id
    _beside(turn, message)
    return turn


class _CallIds:
    """Ids of calls and of their results. With `nine`, each is nine letters or digits: as it is where it already is,
    made from the old id (or from the call's place) where it is not; equal ids stay equal, different ones
    different."""

    def __init__(self, messages: tuple[Message, ...], *, nine: bool) -> None:
        self.calls: dict[tuple[int, int], str | None] = {}
        self.results: dict[int, list[str | None]] = {}
        made: dict[str, str] = {}
        taken: set[str] = set()
        waiting: list[str | None] = []
        for position, message in enumerate(messages):
            if message.role == "function":
                waiting = []
                for number, call in enumerate(message.calls):
                    key = call.id
                    if nine:
                        key = _nine(call.id or f"\0{position}.{number}", made, taken)
                    self.calls[position, number] = key
                    waiting.append(key)
            elif message.role == "observation":
                listed = self.results[position] = []
                for number, result in enumerate(message.results or (message,)):
                    given = result.call_id
                    if given is not None:
                        given = _nine(given, made, taken) if nine else given
                        if given in waiting:
                            waiting.remove(given)
                    elif waiting:
                        given = waiting.pop(0)  # results come in the order of their calls
                    if given is None and nine:
                        given = _nine(f"{position}.{number}" if number else f"{position}", made, taken)
                    listed.append(given)

    def of_call(self, position: int, number: int) -> str | None:
        return self.calls.get((position, number))

    def of_results(self, position: int) -> list[str | None]:
        return self.results[position]


def _nine(call_id: str, made: dict[str, str], taken: set[str]) -> str:
    if call_id in made:
        return made[call_id]
    candidate, attempt = call_id, 0
    while not _NINE.match(candidate) or candidate in taken:
        number = int.from_bytes(
            hashlib.sha256(f"{attempt}:{call_id}".encode("utf-8", "surrogatepass")).digest()[:8], "big"
        )
        candidate = "".join(_DIGITS[number // 62**place % 62] for place in range(9))
        attempt += 1
    made[call_id] = candidate
    taken.add(candidate)
    return candidate
