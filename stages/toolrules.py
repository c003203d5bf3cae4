"""Tools and calls: is the list a list of definitions, and does each call fit what was declared and answered?

Definitions repeat from record to record, so their compiled form is kept by text. Argument schemas are compiled with
jsonschema-rs, offline and with bounded patterns: a reference to elsewhere is a finding, never a request.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from typing import Any, NamedTuple

import jsonschema_rs
import orjson

from .conversation import Conversation, Message, ToolCall
from .findings import Note, shown

_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000, size_limit=1 << 20)
_SCHEMA_BYTES = 1 << 20  # a longer parameter schema is not compiled


class Tools(NamedTuple):
    """A parsed tool list: parameters by name (as JSON bytes, None when there are none), and what is wrong with it."""

    parameters: dict[str, bytes | None]
    notes: tuple[Note, ...]
    fatal: bool


@functools.lru_cache(maxsize=512)
def parse_tools(text: str, at: str) -> Tools:
    """Reads the JSON text of a tool list. `at` is its pointer."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        return _failed("tools.not-json", at, f"tools is not JSON: {reason}", text)
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
        raw = None if schema is None or schema == {} else orjson.dumps(schema)
        parameters[name] = raw
        if raw is not None:
            rule, message, _ = _compiled(raw)
            if rule:
                notes.append(Note(rule, at, f'the parameters of "{shown(name, 40)}": {message}', shown(schema)))
    return Tools(parameters, tuple(notes), False)


def _failed(rule: str, at: str, message: str, value: object) -> Tools:
    return Tools({}, (Note(rule, at, message, shown(value)),), True)


@functools.lru_cache(maxsize=4096)
def _compiled(raw: bytes) -> tuple[str, str, Any]:
    """(rule, message, None) of a bad parameter schema, ("", "", validator) of a good one."""
    if len(raw) > _SCHEMA_BYTES:
        return "tools.schema-invalid", "the schema is too large to check", None
    schema = orjson.loads(raw)
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


def tool_notes(record: Conversation, notes: list[Note]) -> bool:
    """Notes about the tools and calls of one record; False when the record cannot be encoded."""
    parameters: dict[str, bytes | None] = {}
    if record.tools is not None:
        tools = parse_tools(record.tools, record.tools_at)
        notes.extend(tools.notes)
        if tools.fatal:
            return False
        parameters = tools.parameters
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
    for answer in (record.chosen, record.rejected):
        if answer is not None and answer.calls and parameters:
            _check_calls(answer, parameters, notes)
    return True


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
    if validator is None or validator.is_valid(call.arguments):
        return
    for error in validator.iter_errors(call.arguments):
        where = "".join(f"/{part}" for part in error.instance_path)
        message = (
            f'the arguments of "{shown(call.name, 40)}" do not fit its schema: {where} {shown(error.message, 120)}'
        )
        notes.append(Note("tools.arguments-invalid", at, message, shown(call.arguments)))
        return


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
