"""Turns: which order of roles can be trained, for every chat format.

    positions   0      1           2             3            ...
    takes       user   assistant   user          assistant
                or observation     or function   ...

A leading system message stands outside of the count. A conversation of kind sft, kto or pt has an even number of turns,
the prompt of a preference pair an odd one (LLaMA-Factory's rule); predict takes both. The order of a conversation
depends only on its role words, and a data set has few different sequences of them, so each sequence is judged once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from registry.datasets.types import Fields
from stages.core.conversation import THOUGHT_KEYS
from stages.core.findings import Note

from .messages import ANSWERS

_CACHE_SEQUENCES = 4096
_OWN_ORDER = "template.role-order"  # what is an error elsewhere, where the chat template decides


class Problem(NamedTuple):
    """`place` counts the record's messages, the system message included; -1 is the whole list."""

    rule: str
    place: int
    message: str


class Order(NamedTuple):
    """What a sequence of role words comes to.

    start: 1 when the first message is the system's, else 0. roles: the canonical roles after it, and `ats` their
    pointers. calls: positions of function turns in `roles`. problems: the record cannot be encoded. remarks: it can.
    """

    start: int
    roles: tuple[str, ...]
    ats: tuple[str, ...]
    calls: tuple[int, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...]


def tag_roles(fields: Fields) -> dict[str, str]:
    """Role word of the user's data -> canonical role ("system" included); a tag that is None has no word."""
    pairs = (
        (fields.system_tag, "system"),
        (fields.function_tag, "function"),
        (fields.observation_tag, "observation"),
        (fields.assistant_tag, "assistant"),
        (fields.user_tag, "user"),
    )
    return {word: role for word, role in pairs if word is not None}


class Turns:
    """Judges sequences of role words.

    base: pointer of the message list. kind: sft | pref | kto | pt | predict. own_template: the tokenizer's chat
    template writes the turns, and says itself which order it takes; set it before the first judgement.
    """

    def __init__(self, role_of: Mapping[str, str], base: str, kind: str) -> None:
        self.role_of = role_of
        self.base = base
        self.kind = kind
        self.own_template = False
        self._known: dict[tuple[str, ...], Order] = {}

    def order(self, words: tuple[str, ...]) -> Order:
        """The judgement on one sequence. Raises KeyError for a word that is no role."""
        found = self._known.get(words)
        if found is None:
            found = self._judge(words)
            if len(self._known) >= _CACHE_SEQUENCES:  # hostile input must not fill the memory
                self._known.clear()
            self._known[words] = found
        return found

    def _judge(self, words: tuple[str, ...]) -> Order:
        roles = [self.role_of[word] for word in words]
        start = 1 if roles and roles[0] == "system" else 0
        problems: list[Problem] = []
        remarks: list[Problem] = []
        before: str | None = None
        for index in range(start, len(roles)):
            role = roles[index]
            if role == "system":
                problems.append(Problem("role.system-not-first", index, "a system message may only come first"))
                before = role if self.own_template else before
                continue
            problem = self._step(before, role, index, words[index])
            if problem:
                problems.append(problem)
            elif role == "observation" and before != "function":
                remarks.append(
                    Problem("tools.result-without-call", index, "a tool result that no tool call came before")
                )
            elif before == "function" and role == "user":
                text = "a tool call that no tool result answers"
                remarks.append(Problem("tools.call-without-result", index - 1, text))
            before = role
        if self.own_template:
            remarks = [Problem(_OWN_ORDER, place, text) for _, place, text in problems] + remarks
            problems = []
        last = len(roles) - 1
        if last < start:
            text = "there is no turn besides the system message" if start else "the list is empty"
            problems.append(Problem("shape.no-messages", -1, text))
        elif self.kind == "pref":
            if roles[last] in ANSWERS:
                text = f'the prompt ends with an answer ("{words[last]}"); it must end with the user\'s turn'
                problems.append(Problem("preference.prompt-ends-with-answer", last, text))
        elif self.kind != "predict" and roles[last] not in ANSWERS and roles[last] != "system":
            rule = "role.last-not-answer" if roles[last] == "user" else "tools.no-answer-to-result"
            problems.append(Problem(rule, last, f'the conversation ends with "{words[last]}": no answer follows'))
        kept = tuple(roles[start:])
        return Order(
            start=start,
            roles=kept,
            ats=tuple(f"{self.base}/{index}" for index in range(start, len(roles))),
            calls=tuple(position for position, role in enumerate(kept) if role == "function"),
            problems=tuple(problems),
            remarks=tuple(remarks),
        )

    @staticmethod
    def _step(before: str | None, role: str, index: int, word: str) -> Problem | None:
        answer = role in ANSWERS
        if before is None or before == "system":
            text = f'the conversation starts with an answer ("{word}"); a user turn must come first'
            return Problem("role.first-not-user", index, text) if answer else None
        if answer != (before in ANSWERS):
            return None
        if answer:
            return Problem("role.repeated-answer", index, f'a second answer in a row ("{word}")')
        if role == before:
            if role == "user":
                return Problem("role.repeated-user", index, f'a second user turn in a row ("{word}")')
            return Problem("role.repeated-result", index, f'a second tool result in a row ("{word}")')
        return Problem("role.alternation", index, f'an answer must come before this "{word}" turn')

    def report(self, problems: tuple[Problem, ...], notes: list[Note], places: list[int] | None = None) -> None:
        """Appends a note for each problem. `places`: the record's own index of each message, when some were joined."""
        for rule, index, message in problems:
            where = self.base if index < 0 else f"{self.base}/{index if places is None else places[index]}"
            notes.append(Note(rule, where, message))


def message_thought(raw: Mapping[str, object]) -> str | None:
    """The thought that a message states under one of THOUGHT_KEYS, None when there is none."""
    for key in THOUGHT_KEYS:
        value = raw.get(key)
        if isinstance(value, str) and value:
            return value
    return None
