"""Turns: which order of roles can be trained, for every chat format.

    positions   0      1           2             3            ...
    takes       user   assistant   user          assistant
                or observation     or function   ...

A leading system message stands outside of the count. A conversation of kind sft, kto or pt has an even number of turns,
the prompt of a preference pair an odd one (LLaMA-Factory's rule); predict takes both. The order of a conversation
depends only on its role words, and a data set has few different sequences of them, so each sequence is judged once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from registry.datasets import Fields
from stages.conversation import Message, ToolCall
from stages.findings import Note, pointer

ANSWERS = frozenset({"assistant", "function"})
_WEIGHTS = frozenset({"weight", "train", "loss"})
_CACHE_SEQUENCES = 4096


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

    base: pointer of the message list. kind: sft | pref | kto | pt | predict.
    """

    def __init__(self, role_of: Mapping[str, str], base: str, kind: str) -> None:
        self.role_of = role_of
        self.base = base
        self.kind = kind
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
        if before is None:
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


_NEW = tuple.__new__  # a NamedTuple's own constructor takes several times as long, for every message of a run
_MESSAGE = itertools.repeat(Message)
_NO_CALLS: Iterator[tuple[ToolCall, ...]] = itertools.repeat(())
_NO_EXTRAS: Iterator[tuple[dict[str, object], ...]] = itertools.repeat(())
_NONE: Iterator[None] = itertools.repeat(None)
_NOT_INLINE = itertools.repeat(False)


def plain_message(role: str, content: str, at: str) -> Message:
    """A message that is only a role and a text."""
    return _NEW(Message, (role, content, at, (), None, None, None, None, (), False))


def plain_messages(roles: Iterable[str], contents: Iterable[str], ats: Iterable[str]) -> list[Message]:
    """`plain_message` for a whole conversation, without a Python call a message."""
    columns = (roles, contents, ats, _NO_CALLS, _NONE, _NONE, _NONE, _NONE, _NO_EXTRAS, _NOT_INLINE)
    return list(map(_NEW, _MESSAGE, zip(*columns, strict=False)))


def message_weight(raw: Mapping[str, object]) -> float | None:
    """The loss weight that a message states: `weight`, else `train`, else `loss`; None when none of them does."""
    if _WEIGHTS.isdisjoint(raw):
        return None
    for key in ("weight", "train", "loss"):
        value = raw.get(key)
        if isinstance(value, (int, float)):  # bool is an int
            return float(value)
    return None


def key_pointer(key: str | None) -> str:
    """The pointer of a top-level key; empty for an unmapped one."""
    return "" if key is None else pointer(key)


def weight_notes(messages: Iterable[Message], kind: str, notes: list[Note]) -> None:
    """Notes on the loss weights of a record that states some. The weight stands beside the text of its message."""
    answers = [message for message in messages if message.role in ANSWERS]
    if kind == "sft" and answers and all(message.weight == 0 for message in answers):
        notes.append(Note("weight.all-zero", answers[-1].at, "every answer has weight 0: nothing is trained"))
    for message in messages:
        weight = message.weight
        if weight is not None and weight not in (0, 1):
            notes.append(Note("weight.fraction", message.at, f"weight {weight} counts as 1", str(weight)))
        elif weight and message.role not in ANSWERS:
            notes.append(Note("weight.on-prompt", message.at, "weight 1 on a turn that is not an answer has no effect"))
