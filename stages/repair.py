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

from registry.datasets import Fields

from .findings import Note, pointer, shown
from .formats import FORMATS
from .formats.openai import RESULT_BORDER
from .formats.turns import ANSWERS, tag_roles
from .formats.write_calls import json_text

VERSION = 1  # raise it when the same record is repaired in another way

FILE_REPAIRS = ("bom", "crlf")
TURN_BORDER = "\n\n"  # between two turns of one speaker that become one
_SYNONYMS = {
    "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant",
    "model": "assistant", "bot": "assistant", "system": "system", "observation": "observation", "tool": "observation",
    "function_call": "function",
}  # fmt: skip
_NEAR = 0.8  # how alike a mistyped role and a known one must be


def repair(value: dict[str, Any], format_id: str, fields: Fields, stage: str) -> tuple[dict[str, Any], list[Note]]:
    """The record repaired, and a note (rule `repair.*`) on each change; the same record and no note when none is made.

    `value` is not changed. Pointers are those of the record as it was. stage: a training stage or "predict".
    """
    form = FORMATS[format_id]
    kind = form.kind_in(stage)
    mender = _Mender(_copy(value), fields, form.family, kind)
    mender.run()
    return (mender.record, mender.notes) if mender.notes else (value, [])


def _copy(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _copy(item) for key, item in node.items()}
    return [_copy(item) for item in node] if isinstance(node, list) else node


class _Mender:
    """Works on a copy of one record. `turns` pairs each message with its place in the record as it was."""

    def __init__(self, record: dict[str, Any], fields: Fields, family: str, kind: str) -> None:
        self.record = record
        self.fields = fields
        self.family = family
        self.kind = kind
        self.notes: list[Note] = []
        self.roles = tag_roles(fields)
        if family == "openai":
            self.roles = {"developer": "system", "function": "observation", **self.roles}

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
            kept = self._trailing(self._merged(self._leading(self._copied(turns))))
            self.record[str(self.fields.messages)] = [message for _, message in kept]

    def _note(self, rule: str, at: str, message: str, value: object) -> None:
        self.notes.append(Note(rule, at, message, shown(value)))

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

    def _role(self, message: dict[str, Any]) -> str | None:
        word = message.get(str(self.fields.role_tag))
        return self.roles.get(word) if isinstance(word, str) else None

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

    # --- the order of turns -------------------------------------------------------------------------------------------

    def _copied(self, turns: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
        """The prompt of a pair without the copies of its answers at the end."""
        if self.kind != "pref":
            return turns
        text_key = str(self.fields.content_tag)
        answers = [self.record.get(key) for key in (self.fields.chosen, self.fields.rejected) if key is not None]
        answers = [answer[0] if isinstance(answer, list) and answer else answer for answer in answers]
        texts = [answer.get(text_key) for answer in answers if isinstance(answer, dict)]
        keep = len(turns)
        while keep and self._role(turns[keep - 1][1]) in ANSWERS and turns[keep - 1][1].get(text_key) in texts:
            keep -= 1
        if keep == len(turns) or not keep or self._role(turns[keep - 1][1]) not in ("user", "observation"):
            return turns
        for at, message in turns[keep:]:
            what = "the copy of an answer is dropped from the prompt; it stands beside it"
            self._note("repair.drop-copied-answers", at, what, message.get(text_key))
        return turns[:keep]

    def _leading(self, turns: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
        """The conversation without answers before the first question."""
        start = 1 if turns and self._role(turns[0][1]) == "system" else 0
        first = start
        while first < len(turns) and self._role(turns[first][1]) == "assistant" and not self._calls(turns[first][1]):
            first += 1
        if first == start or first == len(turns) or self._role(turns[first][1]) != "user":
            return turns
        for at, message in turns[start:first]:
            what = "the answer before the first question is dropped"
            self._note("repair.drop-leading-answer", at, what, message.get(str(self.fields.content_tag)))
        return turns[:start] + turns[first:]

    def _merged(self, turns: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
        """The conversation with turns of one speaker in a row as one, where they can be."""
        kept: list[tuple[str, dict[str, Any]]] = []
        for at, message in turns:
            joined = self._joined(kept[-1][1], message) if kept else None
            if joined is None:
                kept.append((at, message))
                continue
            kept[-1] = (kept[-1][0], joined)
            word = message[str(self.fields.role_tag)]
            what = f'joined to the turn before: two "{shown(word, 30)}" turns in a row'
            self._note("repair.merge-turns", at, what, message.get(str(self.fields.content_tag)))
        return kept

    def _joined(self, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
        """Two messages as one; None when they are of different speakers, or differ in what stands beside the text."""
        role_key, text_key = str(self.fields.role_tag), str(self.fields.content_tag)
        role = self._role(first)
        if (
            first[role_key] != second[role_key]
            or role == "system"
            or (role == "observation" and self.family == "openai")
        ):
            return None
        own = (role_key, text_key, "tool_calls")
        beside = [
            {key: value for key, value in message.items() if key not in own and value is not None}
            for message in (first, second)
        ]
        if beside[0] != beside[1] or first.get("function_call") or second.get("function_call"):
            return None
        texts = [message.get(text_key) or "" for message in (first, second)]
        if not all(isinstance(text, str) for text in texts):
            return None
        if role == "function":
            text = _joined_calls(texts)
            return None if text is None else {**first, text_key: text}
        border = RESULT_BORDER if role == "observation" else TURN_BORDER
        joined = {**first, text_key: border.join(text for text in texts if text)}
        calls = [message.get("tool_calls") or [] for message in (first, second)]
        if all(isinstance(listed, list) for listed in calls) and any(calls):
            joined["tool_calls"] = calls[0] + calls[1]
        return joined

    def _trailing(self, turns: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
        """The conversation up to its last answer, when only the user's words follow it."""
        if self.kind not in ("sft", "kto") or len(turns) < 2 or self._role(turns[-1][1]) != "user":
            return turns
        at, message = turns[-1]
        if self._role(turns[-2][1]) != "assistant" or self._calls(turns[-2][1]):
            return turns
        what = "the user's last turn, which nothing answers, is dropped"
        self._note("repair.drop-trailing-user", at, what, message.get(str(self.fields.content_tag)))
        return turns[:-1]

    def _calls(self, message: dict[str, Any]) -> bool:
        return self.family == "openai" and bool(message.get("tool_calls") or message.get("function_call"))


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


def _joined_calls(texts: list[str]) -> str | None:
    """The calls of two turns as one list; None when they are not JSON alone."""
    listed: list[Any] = []
    for text in texts:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        listed += value if isinstance(value, list) else [value]
    return json_text(listed) if all(isinstance(call, dict) for call in listed) else None
