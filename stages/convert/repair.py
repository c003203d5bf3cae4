"""Repair: what is wrong in a record and has one right answer, made right; every change is a note.

    role-spelling        "Human", "assistant " , "asistant"          -> the data set's own word
    null-to-empty        content null                                -> ""
    join-text-parts      content [{"type": "text", "text": "Hi"}]    -> "Hi"
    label-to-boolean     "false", "True", 0, 1                       -> false, true
    tools-to-text        a tool list where JSON text is needed       -> its JSON text
    decode-arguments     arguments as JSON text inside JSON          -> the object they hold
    arguments-to-text    OpenAI arguments as an object               -> its JSON text
    drop-copied-answers  chosen and rejected at the prompt's end     -> the prompt alone
    drop-leading-answer  the conversation starts with an answer      -> it starts with the user
    merge-turns          two turns of one speaker in a row           -> one turn
    drop-trailing-user   the user has the last word                  -> the last answer has

A value that looks right is left alone, and so is one that could mean two things. Whether the result is good enough is
for the validator to say. Repairs of whole files (byte order mark, line ends) are made where files are written.
"""

from __future__ import annotations

import difflib
import json
from typing import Any

from registry.datasets.types import Fields
from stages.core.display import pointer, shown
from stages.core.findings import Note
from stages.formats.roles import tag_roles
from stages.formats.table import FORMATS
from stages.formats.tool_calls import json_text

from .repair_turns import Repairing, in_order

_SYNONYMS = {
    "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant",
    "model": "assistant", "bot": "assistant", "system": "system", "observation": "observation", "tool": "observation",
    "function_call": "function",
}  # fmt: skip
_NEAR = 0.8  # how alike a mistyped role and a known one must be


def repair(value: dict[str, Any], format_id: str, fields: Fields, stage: str) -> tuple[dict[str, Any], list[Note]]:
    """The record repaired; `value` itself is not changed.

    Args:
        value: The decoded record.
        format_id: Id of its record format.
        fields: Its column and tag map.
        stage: A training stage or "predict".

    Returns:
        The repaired record and a note (rule `repair.*`) on each change, with the pointer of the record as it was; the
        same record and no note when nothing is repaired.
    """
    form = FORMATS[format_id]
    work = Repairing(_copy(value), fields, form.family, form.kind_in(stage))
    _Repairs(work).run()
    return (work.record, work.notes) if work.notes else (value, [])


def _copy(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _copy(item) for key, item in node.items()}
    return [_copy(item) for item in node] if isinstance(node, list) else node


class _Repairs:
    """Repairs of fields and messages, on a copy of one record."""

    def __init__(self, work: Repairing) -> None:
        self.work = work
        self.record = work.record
        self.fields = work.fields
        self.family = work.family
        self.kind = work.kind
        self.roles = work.roles
        self._note = work.note
        self._role = work.role

    def run(self) -> None:
        """Every repair, in an order in which one prepares the next."""
        self._label()
        self._tools()
        if self.family not in ("sharegpt", "openai") or None in (self.fields.role_tag, self.fields.content_tag):
            return
        for key in (self.fields.chosen, self.fields.rejected):
            if self.kind == "pref" and key is not None:
                answer = self.record.get(key)
                self._message(answer[0] if isinstance(answer, list) and len(answer) == 1 else answer, pointer(key))
        messages = self.record.get(str(self.fields.messages))
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            return
        base = pointer(str(self.fields.messages))
        turns = [(f"{base}/{index}", message) for index, message in enumerate(messages)]
        for at, message in turns:
            self._message(message, at)
        if self.kind != "pt" and all(self._role(message) for message in messages):
            self.record[str(self.fields.messages)] = [message for _, message in in_order(turns, self.work)]

    # --- fields -------------------------------------------------------------------------------------------------------

    def _label(self) -> None:
        key = self.fields.kto_tag
        if self.kind != "kto" or key is None or key not in self.record:
            return
        value = self.record[key]
        text = str(value).strip().casefold() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
        if text in ("true", "1", "false", "0"):
            self.record[key] = text in ("true", "1")
            what = f"the label is written as {shown(self.record[key])}"
            self._note("repair.label-to-boolean", pointer(key), what, value)

    def _tools(self) -> None:
        key = self.fields.tools
        value = self.record.get(key) if key is not None else None
        if self.family != "openai" and key is not None and isinstance(value, list):
            self.record[key] = json_text(value) if value else None
            self._note("repair.tools-to-text", pointer(key), "the tool list is written as JSON text", value)

    # --- one message --------------------------------------------------------------------------------------------------

    def _message(self, message: Any, at: str) -> None:
        """Repairs inside of a message."""
        if not isinstance(message, dict):
            return
        self._spelling(message, at)
        text_key = str(self.fields.content_tag)
        value = message.get(text_key)
        calls = self.family == "openai" and (message.get("tool_calls") or message.get("function_call"))
        if value is None and text_key in message and not calls:
            message[text_key] = ""
            what = "the content null is written as an empty text"
            self._note("repair.null-to-empty", at + pointer(text_key), what, None)
        elif isinstance(value, list) and value and all(_is_text_part(part) for part in value):
            message[text_key] = "".join(part["text"] for part in value)
            what = "the text parts are joined into one text"
            self._note("repair.join-text-parts", at + pointer(text_key), what, value)
        if self.family == "openai":
            self._arguments_to_text(message, at)
        elif self._role(message) == "function":
            self._decoded_arguments(message, at)

    def _spelling(self, message: dict[str, Any], at: str) -> None:
        key = str(self.fields.role_tag)
        word = message.get(key)
        if not isinstance(word, str) or word in self.roles:
            return
        meant = self._meant(word.strip().casefold())
        if meant is not None:
            message[key] = meant
            self._note("repair.role-spelling", at + pointer(key), f'the role is written as "{meant}"', word)

    def _meant(self, folded: str) -> str | None:
        """The one role word that a folded word can only mean."""
        same = [word for word in self.roles if word.casefold() == folded]
        if not same and folded in _SYNONYMS:
            same = [word for word, role in tag_roles(self.fields).items() if role == _SYNONYMS[folded]]
        if not same:
            same = difflib.get_close_matches(folded, list(self.roles), n=2, cutoff=_NEAR)
        return same[0] if len(same) == 1 else None

    def _arguments_to_text(self, message: dict[str, Any], at: str) -> None:
        listed = message.get("tool_calls")
        listed = listed if isinstance(listed, list) else []
        places = [(f"{at}/tool_calls/{index}", call) for index, call in enumerate(listed)]
        functions = [(place + "/function", call.get("function")) for place, call in places if isinstance(call, dict)]
        functions.append((at + "/function_call", message.get("function_call")))
        for place, function in functions:
            if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
                value = function["arguments"]
                function["arguments"] = json_text(value)
                what = "the arguments are written as JSON text, OpenAI's own form"
                self._note("repair.arguments-to-text", place + "/arguments", what, value)

    def _decoded_arguments(self, message: dict[str, Any], at: str) -> None:
        text_key = str(self.fields.content_tag)
        text = message.get(text_key)
        if not isinstance(text, str):
            return
        start = max(text.find(mark) + len(mark) if mark in text else 0 for mark in ("<tool_call>", "</think>"))
        start += len(text) - start - len(text[start:].lstrip())
        try:
            value, end = json.JSONDecoder().raw_decode(text, start)
            decoded = sum([_decode(call) for call in (value if isinstance(value, list) else [value])])
        except (ValueError, RecursionError):
            return
        if decoded:
            message[text_key] = text[:start] + json_text(value) + text[end:]
            what = "the arguments are written as the object that their text held"
            self._note("repair.decode-arguments", at + pointer(text_key), what, text)


def _is_text_part(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _decode(call: object) -> bool:
    """Decodes the arguments of one call in place; True when they were text. Raises ValueError for text that is none."""
    if not isinstance(call, dict) or not isinstance(call.get("arguments"), str):
        return False
    inner = json.loads(call["arguments"]) if call["arguments"].strip() else {}
    if not isinstance(inner, dict):
        return False
    call["arguments"] = inner
    return True
