"""Profiles: what a vendor would refuse in records that are otherwise good.

`ProfileChecker` looks at one record as it is written, in the user's own keys; `FileState` remembers what only a whole
file shows. Both say what they find as notes of `profile.*` rules; how bad that is, is the profile's to say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from registry.datasets.types import Fields
from registry.errors import did_you_mean
from registry.profiles import Profile
from stages.core.display import pointer, shown
from stages.core.findings import Note
from stages.core.records import FileInfo
from stages.formats.table import FORMATS

from .schema import type_name

_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_CALL_KEYS = ("tool_calls", "function_call")


class ProfileChecker:
    """Checks the records of one data set against one profile. Records have passed the schema of their format."""

    def __init__(self, profile: Profile, format_id: str, fields: Fields) -> None:
        self.profile = profile
        self.fields = fields
        self.chat = FORMATS[format_id].family in ("sharegpt", "openai")
        self.shape = shape_of(format_id, fields)
        self._call_id = re.compile(profile.call_id) if profile.call_id else None
        self._function_name = re.compile(profile.function_name) if profile.function_name else None

    def notes(self, record: dict[str, Any]) -> list[Note]:
        """What the vendor would refuse in one record."""
        if not takes(self.profile, self.shape, record.keys()):
            return []  # it is said once, of the file
        found = list(self._record_keys(record))
        messages = record.get(str(self.fields.messages)) if self.chat else None
        if isinstance(messages, list):
            base = pointer(str(self.fields.messages))
            for index, message in enumerate(messages):
                if isinstance(message, dict):
                    found += self._message(message, f"{base}/{index}", first=index == 0)
            found += self._last(messages, base)
        for key in (self.fields.chosen, self.fields.rejected):
            answer = record.get(key) if key is not None else None
            if self.chat and isinstance(answer, dict):
                found += self._message(answer, pointer(str(key)), first=False)
        return found

    def _record_keys(self, record: dict[str, Any]) -> Iterator[Note]:
        known = self.profile.record_keys
        for key in record if known else ():
            if key not in known:
                text = f'"{shown(key, 40)}" is not a key of a record{did_you_mean(key, known)}'
                yield Note("profile.record-key", pointer(key), text, shown(record[key]))
        tools = record.get(str(self.fields.tools)) if self.fields.tools is not None else None
        limit = self.profile.max_tools
        if limit and isinstance(tools, list) and len(tools) > limit:
            text = f"{len(tools)} tools; a record may have {limit}"
            yield Note("profile.tool-count", pointer(str(self.fields.tools)), text)
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            function = tool.get("function", tool) if isinstance(tool, dict) else None
            if isinstance(function, dict):
                inner = "/function" if "function" in tool else ""
                yield from self._name(function, f"{pointer(str(self.fields.tools))}/{index}{inner}")

    def _message(self, message: dict[str, Any], at: str, *, first: bool) -> Iterator[Note]:
        profile = self.profile
        role = message.get(str(self.fields.role_tag))
        role_at = at + pointer(str(self.fields.role_tag))
        if profile.roles and isinstance(role, str) and role not in profile.roles:
            text = f'the role "{shown(role, 40)}" is not taken; roles are {", ".join(profile.roles)}'
            yield Note("profile.role", role_at, text, shown(role))
        if profile.system == "first" and not first and role == self.fields.system_tag:
            yield Note("profile.system-place", role_at, "a system message may only come first")
        for key in message if profile.message_keys else ():
            if key not in profile.message_keys:
                text = f'"{shown(key, 40)}" is not a key of a message{did_you_mean(key, profile.message_keys)}'
                yield Note("profile.message-key", at + pointer(key), text, shown(message[key]))
        yield from self._weight(message, role, at)
        if role == self.fields.assistant_tag:
            yield from self._content(message, at)
        yield from self._calls(message, at)

    def _weight(self, message: dict[str, Any], role: object, at: str) -> Iterator[Note]:
        allowed = self.profile.weights
        if not allowed or "weight" not in message:
            return
        value = message["weight"]
        if isinstance(value, bool) or value not in allowed:
            text = f"the weight {shown(value, 20)} must be {' or '.join(map(str, allowed))}"
            yield Note("profile.weight", at + "/weight", text, shown(value))
        elif self.profile.weight_roles and role not in self.profile.weight_roles:
            text = f"only {', '.join(self.profile.weight_roles)} messages have a weight"
            yield Note("profile.weight", at + "/weight", text, shown(value))

    def _content(self, message: dict[str, Any], at: str) -> Iterator[Note]:
        if not self.profile.content:
            return
        text = message.get(str(self.fields.content_tag))
        has_text = isinstance(text, str) and bool(text.strip())
        calls = any(message.get(key) for key in _CALL_KEYS)
        if not has_text and not calls:
            yield Note("profile.content", at, "an answer needs a text or tool calls")
        elif has_text and calls and self.profile.content == "one":
            yield Note("profile.content", at, "an answer has either a text or tool calls, not both", shown(text))

    def _calls(self, message: dict[str, Any], at: str) -> Iterator[Note]:
        listed = message.get("tool_calls")
        for index, call in enumerate(listed if isinstance(listed, list) else ()):
            place = f"{at}/tool_calls/{index}"
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict):
                continue
            yield from self._id(call.get("id"), place + "/id", "a tool call")
            yield from self._name(function, place + "/function")
            if self.profile.arguments == "text" and not isinstance(function.get("arguments"), str):
                text = f"the arguments are {type_name(function.get('arguments'))}; they must be JSON text"
                yield Note("profile.arguments", place + "/function/arguments", text, shown(function.get("arguments")))
        if message.get(str(self.fields.role_tag)) == self.fields.observation_tag:
            yield from self._id(message.get("tool_call_id"), at + "/tool_call_id", "a tool result")

    def _id(self, value: object, at: str, what: str) -> Iterator[Note]:
        if self._call_id is None:
            return
        if not isinstance(value, str):
            yield Note("profile.call-id", at, f"{what} needs the id of its call")
        elif not self._call_id.fullmatch(value):
            yield Note("profile.call-id", at, f"the id must match {self.profile.call_id}", shown(value))

    def _name(self, function: dict[str, Any], at: str) -> Iterator[Note]:
        name = function.get("name")
        if self._function_name is not None and isinstance(name, str) and not self._function_name.fullmatch(name):
            text = f"the name of a function must match {self.profile.function_name}"
            yield Note("profile.function-name", at + "/name", text, shown(name))

    def _last(self, messages: list[Any], base: str) -> Iterator[Note]:
        if (
            not self.profile.last
            or self.fields.chosen is not None
            or not messages
            or not isinstance(messages[-1], dict)
        ):
            return
        role = messages[-1].get(str(self.fields.role_tag))
        if role not in self.profile.last:
            text = f'the last message is of the role "{shown(role, 40)}"; it must be {" or ".join(self.profile.last)}'
            yield Note("profile.last-turn", f"{base}/{len(messages) - 1}", text)


def shape_of(format_id: str, fields: Fields) -> str:
    """The format that a vendor sees: records mapped as ShareGPT whose keys are OpenAI's own are OpenAI records."""
    family, dash, kind = format_id.partition("-")
    own = FORMATS["openai"].default_fields
    keys = (fields.messages, fields.role_tag, fields.content_tag, fields.user_tag, fields.assistant_tag)
    if family in ("sharegpt", "openai"):
        openai = keys == (own.messages, own.role_tag, own.content_tag, own.user_tag, own.assistant_tag)
        family = "openai" if openai else "sharegpt"
    return family + dash + kind


def takes(profile: Profile, shape: str, keys: Collection[str]) -> bool:
    """Whether the vendor takes records of a shape (what `shape_of` gives) with these keys."""
    if profile.key_sets:
        if not keys:  # an empty file
            return True
        return _compared(profile, keys) in map(set, profile.key_sets) and not shape.startswith("sharegpt")
    return not profile.formats or shape in profile.formats


def _compared(profile: Profile, keys: Collection[str]) -> set[str]:
    """Those of the keys that decide; the vendor passes over all others."""
    return set(keys) & {key for names in profile.key_sets for key in names}


def _format_note(profile: Profile, shape: str, keys: Collection[str]) -> Note:
    """What the vendor takes instead, with a conversion where one gives that without losing an answer."""
    if profile.key_sets and not shape.startswith("sharegpt"):
        mine = ", ".join(key for key in keys if key in _compared(profile, keys)) or "other keys"
        known = "; ".join(", ".join(names) for names in profile.key_sets)
        text = f"{profile.title} does not take records of {mine}; it takes one of: {known}"
    else:
        text = f"{profile.title} does not take {shape} records; it takes {', '.join(profile.formats)}"
    kind = FORMATS[shape].kind
    target = next((name for name in profile.formats if FORMATS[name].kind == kind), "")
    plain = shape != target or "messages" not in keys
    return Note("profile.format", "", text, hint=f"prep convert {shape}→{target} IN -o OUT" if target and plain else "")


# --- what only the whole file shows -----------------------------------------------------------------------------------


@dataclass
class Column:
    """One key over a file. types: JSON types seen, null aside. first: byte offset of the first value that is not null.
    dates: every text in it looks like a date."""

    types: dict[str, int] = field(default_factory=dict)
    first: int = -1
    dates: bool = True


@dataclass
class FileState:
    """What is remembered of one file's records, and merged over its chunks in order. types: record of the first value
    of each type."""

    records: int = 0
    columns: dict[str, Column] = field(default_factory=dict)

    def add(self, record: dict[str, Any], number: int, byte_offset: int) -> None:
        """Looks at one record.

        Args:
            record: The decoded record.
            number: 0-based number in the file.
            byte_offset: Where its bytes start.
        """
        self.records += 1
        for key, value in record.items():
            if value is None:
                continue
            column = self.columns.get(key)
            if column is None:
                column = self.columns[key] = Column(first=byte_offset)
            kind = type_name(value)
            column.types.setdefault("number" if kind == "integer" else kind, number)
            if column.dates and (not isinstance(value, str) or not _DATE.fullmatch(value)):
                column.dates = False

    def merge(self, later: FileState) -> FileState:
        """Adds what later records showed."""
        self.records += later.records
        for key, column in later.columns.items():
            mine = self.columns.setdefault(key, column)
            if mine is not column:
                for kind, number in column.types.items():
                    mine.types.setdefault(kind, number)
                mine.dates = mine.dates and column.dates
        return self


def file_notes(profile: Profile, format_id: str, path: str, info: FileInfo, state: FileState) -> list[Note]:
    """What the vendor would refuse about a file as a whole.

    Args:
        profile: The vendor's demands.
        format_id: The format that the vendor sees, from `shape_of`.
        path: The file's path, for its ending.
        info: Size, records and container of the file.
        state: What is remembered of its records.
    """
    found = []
    if not takes(profile, format_id, state.columns):
        found.append(_format_note(profile, format_id, state.columns))
    if profile.endings and not path.endswith(profile.endings):
        text = f"the file is not named as {profile.title} wants it: {', '.join(profile.endings)}"
        found.append(Note("profile.container", "", text))
    elif profile.containers and info.container not in profile.containers:
        text = f"the file holds {info.container or 'nothing readable'}; it must hold {', '.join(profile.containers)}"
        found.append(Note("profile.container", "", text))
    if profile.max_bytes and info.bytes > profile.max_bytes:
        text = f"{info.bytes:,} bytes; a file may have {profile.max_bytes:,}"
        found.append(Note("profile.file-size", "", text))
    if info.records < profile.min_records:
        text = f"{info.records:,} records; a file needs {profile.min_records:,}"
        found.append(Note("profile.few-records", "", text))
    if profile.max_records and info.records > profile.max_records:
        text = f"{info.records:,} records; a file may have {profile.max_records:,}"
        found.append(Note("profile.many-records", "", text))
    return found + list(_column_notes(profile, state))


def _column_notes(profile: Profile, state: FileState) -> Iterator[Note]:
    for key, column in state.columns.items():
        if profile.uniform_columns and len(column.types) > 1:
            seen = ", ".join(f"{kind} (record {number})" for kind, number in column.types.items())
            yield Note(
                "profile.column-type", pointer(key), f'the column "{shown(key, 40)}" holds several types: {seen}'
            )
        if profile.early_columns and column.first > profile.early_columns:
            text = f'the column "{shown(key, 40)}" has its first value at byte {column.first:,} of the file'
            yield Note("profile.late-column", pointer(key), text)
        if not profile.dates and column.dates and "string" in column.types:
            yield Note("profile.date-column", pointer(key), f'every text in the column "{shown(key, 40)}" is a date')
