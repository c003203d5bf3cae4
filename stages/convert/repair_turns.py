"""Repair, the order of turns: copies of answers, answers before the first question, turns of one speaker in a row,
questions that nothing answers."""

from __future__ import annotations

import json
from typing import Any

from registry.datasets.types import Fields
from stages.core.display import shown
from stages.core.findings import Note
from stages.formats.messages import ANSWERS, RESULT_BORDER
from stages.formats.roles import tag_roles
from stages.formats.tool_calls import json_text

TURN_BORDER = "\n\n"  # between two turns of one speaker that become one

Turns = list[tuple[str, dict[str, Any]]]  # each message behind its place in the record as it was


class Repairing:
    """A copy of one record in the course of its repair, what its words mean, and the notes on what was changed."""

    def __init__(self, record: dict[str, Any], fields: Fields, family: str, kind: str) -> None:
        self.record = record
        self.fields = fields
        self.family = family
        self.kind = kind
        self.notes: list[Note] = []
        self.roles = tag_roles(fields)
        if family == "openai":
            self.roles = {"developer": "system", "function": "observation", **self.roles}

    def note(self, rule: str, at: str, message: str, value: object) -> None:
        """States one repair.

        Args:
            rule: A rule of the area `repair`.
            at: Pointer into the record as it was.
            message: What was done.
            value: What stood there before.
        """
        self.notes.append(Note(rule, at, message, shown(value)))

    def role(self, message: dict[str, Any]) -> str | None:
        """What a message's role word means, None for a word that means nothing."""
        word = message.get(str(self.fields.role_tag))
        return self.roles.get(word) if isinstance(word, str) else None

    def has_calls(self, message: dict[str, Any]) -> bool:
        """Whether calls stand beside the message's text."""
        return self.family == "openai" and bool(message.get("tool_calls") or message.get("function_call"))


def in_order(turns: Turns, work: Repairing) -> Turns:
    """The turns, repaired. Each step prepares the next."""
    for step in (_copied, _leading, _merged, _trailing):
        turns = step(turns, work)
    return turns


def _copied(turns: Turns, work: Repairing) -> Turns:
    """The prompt of a pair without the copies of its answers at the end."""
    if work.kind != "pref":
        return turns
    text_key = str(work.fields.content_tag)
    answers = [work.record.get(key) for key in (work.fields.chosen, work.fields.rejected) if key is not None]
    answers = [answer[0] if isinstance(answer, list) and answer else answer for answer in answers]
    texts = [answer.get(text_key) for answer in answers if isinstance(answer, dict)]
    keep = len(turns)
    while keep and work.role(turns[keep - 1][1]) in ANSWERS and turns[keep - 1][1].get(text_key) in texts:
        keep -= 1
    if keep == len(turns) or not keep or work.role(turns[keep - 1][1]) not in ("user", "observation"):
        return turns
    for at, message in turns[keep:]:
        what = "the copy of an answer is dropped from the prompt; it stands beside it"
        work.note("repair.drop-copied-answers", at, what, message.get(text_key))
    return turns[:keep]


def _leading(turns: Turns, work: Repairing) -> Turns:
    """The conversation without answers before the first question."""
    start = 1 if turns and work.role(turns[0][1]) == "system" else 0
    first = start
    while first < len(turns) and work.role(turns[first][1]) == "assistant" and not work.has_calls(turns[first][1]):
        first += 1
    if first == start or first == len(turns) or work.role(turns[first][1]) != "user":
        return turns
    for at, message in turns[start:first]:
        what = "the answer before the first question is dropped"
        work.note("repair.drop-leading-answer", at, what, message.get(str(work.fields.content_tag)))
    return turns[:start] + turns[first:]


def _merged(turns: Turns, work: Repairing) -> Turns:
    """The conversation with turns of one speaker in a row as one, where they can be."""
    kept: Turns = []
    for at, message in turns:
        joined = _joined(kept[-1][1], message, work) if kept else None
        if joined is None:
            kept.append((at, message))
            continue
        kept[-1] = (kept[-1][0], joined)
        word = message[str(work.fields.role_tag)]
        what = f'joined to the turn before: two "{shown(word, 30)}" turns in a row'
        work.note("repair.merge-turns", at, what, message.get(str(work.fields.content_tag)))
    return kept


def _joined(first: dict[str, Any], second: dict[str, Any], work: Repairing) -> dict[str, Any] | None:
    """Two messages as one; None when they are of different speakers, or differ in what stands beside the text."""
    role_key, text_key = str(work.fields.role_tag), str(work.fields.content_tag)
    role = work.role(first)
    if first[role_key] != second[role_key] or role == "system" or (role == "observation" and work.family == "openai"):
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


def _trailing(turns: Turns, work: Repairing) -> Turns:
    """The conversation up to its last answer, when only the user's words follow it."""
    if work.kind not in ("sft", "kto") or len(turns) < 2 or work.role(turns[-1][1]) != "user":
        return turns
    at, message = turns[-1]
    if work.role(turns[-2][1]) != "assistant" or work.has_calls(turns[-2][1]):
        return turns
    what = "the user's last turn, which nothing answers, is dropped"
    work.note("repair.drop-trailing-user", at, what, message.get(str(work.fields.content_tag)))
    return turns[:-1]


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
