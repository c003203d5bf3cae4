"""Tools and calls: is the list a list of definitions, and does each call fit what was declared and answered?

Definitions repeat from record to record, so their compiled form is kept by text. Argument schemas are compiled with
jsonschema-rs, offline and with bounded patterns: a reference to elsewhere is a finding, never a request.

Tool lists, and the calls of some formats, are JSON inside a text of the record, which the record's own reader does not
look into. So what no stage behind this one can take is rejected here: nesting without end, and a lone surrogate.
Integers of any size, NaN and infinities pass: Python's `json` reads and writes them, as LLaMA-Factory does.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from itertools import chain, islice
from typing import Any, NamedTuple

import jsonschema_rs
import orjson

from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.display import shown
from stages.core.findings import Note
from stages.parse.diagnose import DEPTH_LIMIT

_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000, size_limit=1 << 20)
_SCHEMA_BYTES = 1 << 20  # a longer parameter schema is not compiled
_TOO_DEEP = f"tools is nested more than {DEPTH_LIMIT} levels deep"


class Tools(NamedTuple):
    """A parsed tool list: parameters by name (as JSON, None when there are none), and what is wrong with it."""

    parameters: dict[str, bytes | None]
    notes: tuple[Note, ...]
    fatal: bool


@functools.lru_cache(maxsize=512)
def parse_tools(text: str, at: str, written_as: str = "list") -> Tools:
    """Reads the JSON text of a tool list; kept for the next record with the same one.

    Args:
        text: JSON text.
        at: Its pointer.
        written_as: What the template can write: "list" (of definitions), "json" (any JSON value, as one) or "text" (any
            JSON value or blank text, as it stands).
    """
    if written_as == "text" and not text.strip():
        return _as_written("tools is blank, and stands so in the prompt", at, text)
    try:
        value = json.loads(text)
    except RecursionError:
        return _failed("json.depth", at, _TOO_DEEP, text)
    except ValueError as error:  # one that is no JSONDecodeError: an integer of more digits than Python reads
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "a number has thousands of digits"
        return _failed("tools.not-json", at, f"tools is not JSON: {reason}", text)
    if too_deep(value):
        return _failed("json.depth", at, _TOO_DEEP, text)
    if "\\u" in text and _half_a_pair(value):
        return _failed("json.lone-surrogate", at, "tools holds half a surrogate pair", text)
    if value in ({}, ""):
        return _as_written("tools is empty, and no list; read as no tools", at, text)
    tools = _definitions(value, at, text)
    if tools.fatal and written_as != "list" and (written_as == "text" or isinstance(value, (list, dict, str))):
        told = _as_written(f"{tools.notes[-1].message}; this template writes it as it stands", at, text)
        single = _definitions([value], at, text)
        return told if single.fatal else Tools(single.parameters, told.notes + single.notes, False)
    return tools


def _half_a_pair(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _definitions(value: object, at: str, text: str) -> Tools:
    if not isinstance(value, list):
        return _failed("tools.not-a-list", at, "tools must be a list of definitions", text)
    parameters: dict[str, bytes | None] = {}
    notes: list[Note] = []
    for index, item in enumerate(value):
        function = item.get("function") if isinstance(item, dict) and item.get("type") == "function" else item
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            return _failed("tools.not-a-definition", at, f"tool {index} has no name", item)
        if name in parameters:
            notes.append(Note("tools.duplicate-name", at, f'two tools are named "{shown(name, 40)}"'))
        schema = function.get("parameters")
        raw = None if schema is None or schema == {} else _bytes(schema)
        parameters[name] = raw
        if raw is not None:
            rule, message, _ = _compiled(raw)
            if rule:
                notes.append(Note(rule, at, f'the parameters of "{shown(name, 40)}": {message}', shown(schema)))
    return Tools(parameters, tuple(notes), False)


def _bytes(schema: object) -> bytes:
    try:
        return orjson.dumps(schema)
    except TypeError:  # an integer over 64 bits
        return json.dumps(schema).encode()


def _as_written(message: str, at: str, text: str) -> Tools:
    return Tools({}, (Note("tools.as-written", at, message, shown(text)),), False)


def too_deep(value: object) -> bool:
    """Whether a JSON value is nested more than DEPTH_LIMIT levels deep."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEPTH_LIMIT):
        if not level:
            return False
        inner = chain.from_iterable(node.values() if isinstance(node, dict) else node for node in level)
        level = [item for item in inner if isinstance(item, (dict, list))]
    return bool(level)


def _failed(rule: str, at: str, message: str, value: object) -> Tools:
    return Tools({}, (Note(rule, at, message, shown(value)),), True)


@functools.lru_cache(maxsize=4096)
def _compiled(raw: bytes) -> tuple[str, str, Any]:
    """(rule, message, None) of a bad parameter schema, ("", "", validator) of a good one."""
    if len(raw) > _SCHEMA_BYTES:
        return "tools.schema-invalid", "the schema is too large to check", None
    schema = json.loads(raw)
    if not isinstance(schema, (dict, bool)):
        return "tools.schema-invalid", "a JSON Schema is an object", None
    remote = _remote_reference(schema)
    if remote:
        return "tools.remote-ref", f'the reference "{shown(remote, 60)}" leads elsewhere and is not followed', None
    try:
        validator = jsonschema_rs.validator_for(schema, offline=True, pattern_options=_PATTERNS)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reason = getattr(error, "message", str(error)).splitlines()[0]
        return "tools.schema-invalid", f"not a valid JSON Schema: {shown(reason, 120)}", None
    return "", "", validator


def _remote_reference(schema: object) -> str:
    """The first `$ref` that is not local; empty when all are."""
    stack: list[object] = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            for key in ("$ref", "$dynamicRef", "$schema"):
                reference = node.get(key)
                if isinstance(reference, str) and not reference.startswith("#") and not _known_draft(key, reference):
                    return reference
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return ""


def _known_draft(key: str, reference: str) -> bool:
    return key == "$schema" and "json-schema.org/" in reference


def tool_notes(record: Conversation, notes: list[Note], written_as: str = "list") -> bool:
    """Notes about the tools and calls of one record.

    Args:
        record: The conversation.
        notes: New notes are appended.
        written_as: As in `parse_tools`.

    Returns:
        False when the record cannot be encoded.
    """
    answers = [answer for answer in (record.chosen, record.rejected) if answer is not None]
    for turn in (*record.messages, *answers):
        for call in turn.calls:
            if too_deep(call.arguments):
                name = shown(call.name, 40)
                message = f'the arguments of "{name}" are nested more than {DEPTH_LIMIT} levels deep'
                notes.append(Note("json.depth", turn.at, message))
                return False
    parameters: dict[str, bytes | None] = {}
    if record.tools is not None:
        tools = parse_tools(record.tools, record.tools_at, written_as)
        notes.extend(tools.notes)
        if tools.fatal:
            return False
        parameters = tools.parameters
        _calls_in_texts((*record.messages, *answers), parameters, notes)
    turns = record.messages
    undeclared = False
    for position, turn in enumerate(turns):
        if turn.calls:
            if parameters:
                _check_calls(turn, parameters, notes)
            elif not undeclared:
                undeclared = True
                notes.append(Note("tools.none-declared", turn.at, "a tool call, but the record declares no tools"))
            _check_results(turn, turns[position + 1] if position + 1 < len(turns) else None, notes)
    for answer in answers:
        if answer.calls and parameters:
            _check_calls(answer, parameters, notes)
    return True


def _calls_in_texts(turns: tuple[Message, ...], parameters: dict[str, bytes | None], notes: list[Note]) -> None:
    """A note for an answer that is, as a whole, the JSON text of calls of declared tools."""
    for turn in turns:
        text = turn.content
        if turn.role != "assistant" or turn.calls or '"arguments"' not in text or text.lstrip()[:1] not in ("{", "["):
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        calls = value if isinstance(value, list) else [value]
        names = [call.get("name") if isinstance(call, dict) and "arguments" in call else None for call in calls]
        if names and all(isinstance(name, str) and name in parameters for name in names):
            message = "the answer is the JSON text of tool calls, and is trained as plain text"
            notes.append(Note("tools.call-in-text", turn.at, message, shown(text)))


def _check_calls(turn: Message, parameters: dict[str, bytes | None], notes: list[Note]) -> None:
    for call in turn.calls:
        if call.name not in parameters:
            known = ", ".join(shown(name, 30) for name in list(parameters)[:6])
            message = f'"{shown(call.name, 40)}" is not among the declared tools'
            notes.append(Note("tools.undeclared", turn.at, message, shown(call.name), f"declared: {known}"))
            continue
        if not isinstance(call.arguments, dict):
            message = f'the arguments of "{shown(call.name, 40)}" are not an object'
            notes.append(Note("tools.arguments-not-object", turn.at, message, shown(call.arguments)))
            continue
        _check_arguments(call, parameters[call.name], turn.at, notes)


def _check_arguments(call: ToolCall, raw: bytes | None, at: str, notes: list[Note]) -> None:
    if raw is None:
        return
    validator = _compiled(raw)[2]
    if validator is None:
        return
    try:
        if validator.is_valid(call.arguments):
            return
        errors = list(islice(validator.iter_errors(call.arguments), 1))
    except ValueError:  # a text that is no Unicode, which another rule names
        return
    for error in errors:
        where = "".join(f"/{part}" for part in error.instance_path)
        message = (
            f'the arguments of "{shown(call.name, 40)}" do not fit its schema: {where} {shown(error.message, 120)}'
        )
        notes.append(Note("tools.arguments-invalid", at, message, shown(call.arguments)))


def _check_results(turn: Message, result: Message | None, notes: list[Note]) -> None:
    ids = [call.id for call in turn.calls if call.id]
    if len(ids) != len(set(ids)):
        repeated = [call_id for call_id, count in Counter(ids).items() if count > 1]
        message = f'two calls of one turn have the id "{shown(repeated[0], 40)}"'
        notes.append(Note("tools.duplicate-call-id", turn.at, message))
    if result is None or result.role != "observation" or not result.call_id or not ids:
        return
    answered = result.call_id.split("\n")
    unknown = [call_id for call_id in answered if call_id not in ids]
    if unknown:
        message = f'the result names the call "{shown(unknown[0], 40)}", which the turn before did not make'
        notes.append(Note("tools.result-unknown-id", result.at, message, shown(unknown[0])))
    elif len(answered) != len(turn.calls):
        message = f"{len(turn.calls)} calls, {len(answered)} result{'s' if len(answered) != 1 else ''}"
        notes.append(Note("tools.result-count", result.at, message))
