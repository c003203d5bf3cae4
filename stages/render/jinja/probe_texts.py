"""Probes: short conversations rendered with a chat template, and how their texts are read: endings, headers, tokens.

Marks around the words of each turn say where they stand; where a template writes something else because of marks, the
words are looked for themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from stages.core.conversation import Conversation, Message
from stages.core.display import shown

from .chat_template import AutoTemplate
from .messages import Dialect, Prepared, prepare
from .sandbox.requests import Item, Outcome

Render = Callable[[Sequence[Item]], list[Outcome]]

_TOOLS = (
    '[{"type": "function", "function": {"name": "add_up", "description": "Adds up.", "parameters": {"type": "object",'
    ' "properties": {"what": {"type": "string", "description": "What to add."}}, "required": ["what"]}}}]'
)
_PARTS = re.compile(r"""\bin\s+\w+\s*(?:\.\s*content|\[\s*['"]content['"]\s*\])""")  # a loop over parts
_WANTS_PARTS = ' (it wants contents as lists of parts, [{"type": "text", ...}]; prep gives it texts)'


@dataclass(frozen=True)
class Ending:
    """How a turn ends. stop: the token that ends it, "" when the template writes none. before: what stands between the
    text and it (a blank, in some)."""

    stop: str = ""
    before: str = ""


class Seen(NamedTuple):
    """A rendered probe: its text and where the words of each turn stand in it."""

    text: str
    places: list[tuple[int, int]]

    def before(self, turn: int) -> str:
        """The text between the words of the turn before and those of this one."""
        return self.text[self.places[turn - 1][1] : self.places[turn][0]]

    def after(self, turn: int) -> str:
        """The text between the words of this turn and those of the next, or the end."""
        end = self.places[turn + 1][0] if turn + 1 < len(self.places) else len(self.text)
        return self.text[self.places[turn][1] : end]


class Probes:
    """Short conversations, rendered as a template writes them, and what is to be read from the texts.

    Set `system`, `tools` and `dialect` to have the next ones rendered with them.
    """

    def __init__(self, template: AutoTemplate, render: Render, name: str) -> None:
        self.template = template
        self.render = render
        self.name = name
        self.dialect = Dialect()
        self.system: str | None = None
        self.tools = False
        self.added = re.compile("|".join(map(re.escape, template.added)) or "(?!)")
        self.ends = {*template.stops, template.variables.get("eos_token", "")} - {""}

    # --- rendering ----------------------------------------------------------------------------------------------------

    def many(self, wanted: list[tuple[tuple[Message, ...], bool]]) -> list[Seen | str]:
        """Each conversation, with a generation prompt where told: what was written, or why nothing was."""
        prepared = []
        for messages, _ in wanted:
            ready = prepare(Conversation(messages, self.system, tools=_TOOLS if self.tools else None), self.dialect)
            assert isinstance(ready, Prepared)  # our own tools are JSON
            prepared.append(ready)
        items = [
            Item(self.name, ready.messages, ready.tools, generate, True)
            for ready, (_, generate) in zip(prepared, wanted, strict=True)
        ]
        return [self._seen(ready, outcome) for ready, outcome in zip(prepared, self.render(items), strict=True)]

    def one(self, messages: tuple[Message, ...], *, generate: bool = False) -> Seen | str:
        """One conversation."""
        return self.many([(messages, generate)])[0]

    def _seen(self, ready: Prepared, outcome: Outcome) -> Seen | str:
        if outcome.error:
            return outcome.message or outcome.error
        first: dict[int, int] = {}
        for mark, position in outcome.marks or ():
            first.setdefault(mark, position)
        if outcome.marks is None:
            # marks change what this template writes; the words of a probe are found by themselves
            for number, piece in enumerate(ready.pieces):
                found = outcome.text.find(piece.text)
                if found >= 0:
                    first |= {2 * number: found, 2 * number + 1: found + len(piece.text)}
        turns: dict[int, tuple[int, int]] = {}
        for number, piece in enumerate(ready.pieces):
            start, end = first.get(2 * number), first.get(2 * number + 1)
            if start is None or end is None:
                parts = any(map(_PARTS.search, self.template.sources.values()))
                return f"it leaves out {shown(piece.text)}" + (_WANTS_PARTS if parts else "")
            low, high = turns.get(piece.message, (start, end))
            turns[piece.message] = min(low, start), max(high, end)
        places = list(turns.values())
        if places != sorted(places):
            return "it changes the order of the messages"
        return Seen(outcome.text, places)

    # --- reading what was rendered ------------------------------------------------------------------------------------

    def tokens(self, text: str) -> list[str]:
        """The added tokens in a text, in order."""
        return self.added.findall(text)

    def common(self, one: str, other: str) -> str:
        """The longest common start that cuts no added token in two."""
        size = _same_start(one, other)
        for text in (one, other):
            for found in self.added.finditer(text):
                if found.start() < size < found.end():
                    size = found.start()
        return one[:size]

    def common_end(self, one: str, other: str) -> str:
        """The longest common end that cuts no added token in two."""
        size = _same_start(one[::-1], other[::-1])
        for text in (one, other):
            for found in self.added.finditer(text):
                if len(text) - found.end() < size < len(text) - found.start():
                    size = len(text) - found.end()
        return one[len(one) - size :]

    def headers(self, requested: str, bare: str, inner: str, stop: str) -> list[str]:
        """Headers from the text after a question: with the generation prompt, without it, and up to a given answer."""
        quiet = self.common(requested, bare)
        header = requested[len(quiet) :]
        if not header:
            # nothing is added: the header is always there, or there is none and the turn's own end is it
            _, found, rest = requested.partition(stop) if stop else (requested, "", "")
            header = rest if found and rest.strip() else self._last_token(requested)
            quiet = requested[: len(requested) - len(header)]
        # inner turns may lack what a generation prompt adds for thinking
        shared = self.common(requested, inner)[len(quiet) :]
        return [text for text in dict.fromkeys((header, shared)) if text.strip()]

    def _last_token(self, text: str) -> str:
        found = list(self.added.finditer(text))
        return text[found[-1].start() :] if found else text.lstrip()

    def endings(
        self, inner: str, last: str, openers: set[str], known: Sequence[str] = (), question: str = ""
    ) -> tuple[Ending, Ending]:
        """Endings from what follows an answer inside and at the end of a conversation. `openers` begin turns, so they
        end none; `known` stops are taken first; `question` is what stands before the first one."""
        shared = self.common(last, inner)
        tokens = self.tokens(shared)
        for stop in known:
            if stop in tokens:
                ending = Ending(stop, shared[: shared.index(stop)])
                return ending, ending
        ends = [token for token in tokens if token in self.ends]
        tokens = ends[:1] or [token for token in tokens if token not in openers] or tokens
        if tokens:
            stop = tokens[-1]
            ending = Ending(stop, shared[: shared.index(stop)])
            return ending, ending
        first_inner, first_last = self.added.search(inner), self.added.search(last)
        at_end = Ending(first_last.group(), last[: first_last.start()]) if first_last else Ending("", "")
        inside = Ending()
        if first_inner and (first_last or first_inner.group() in self.ends):
            inside = Ending(first_inner.group(), inner[: first_inner.start()])
        elif first_inner:
            # the last answer ends with nothing; an inner one may end with what does not belong to the next question
            own = inner[: len(inner) - len(self.common_end(inner, question))]
            tokens = self.tokens(own)
            inside = Ending(tokens[-1], own[: own.rindex(tokens[-1])]) if tokens else inside
        return inside, at_end


def _same_start(one: str, other: str) -> int:
    """Length of the longest common start, in characters."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in same)
