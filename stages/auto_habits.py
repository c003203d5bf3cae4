"""What a chat template does around an answer, found by rendering a few short conversations and looking.

    <|im_start|>user\\n Two? <|im_end|>\\n<|im_start|>assistant\\n Four. <|im_end|>\\n<|im_start|>user\\n ...
                            └──────┬──────┘└────────┬─────────┘       └────┬───┘
                          end of the user's turn  header           stop (what the model must learn to write)

The header is what the generation prompt adds: the model writes from its end on. The stop is the last token that the
end of the text and the end of an inner turn have in common. Nothing here depends on a template's name or on
generation tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product, takewhile
from typing import NamedTuple

from .auto_files import AutoTemplate
from .auto_messages import Dialect, Prepared, prepare
from .conversation import Conversation, Message, ToolCall
from .findings import shown
from .jinja_wall import Item, Outcome

Render = Callable[[Sequence[Item]], list[Outcome]]

_USER, _ANSWER = Message("user", "What is two and two?"), Message("assistant", "It is four.")
_USER2, _ANSWER2 = Message("user", "And three more?"), Message("assistant", "That makes seven.")
# an id that no template takes for one of its own, and an argument that can be marked
_CALL = Message("function", "", calls=(ToolCall("add_up", {"what": "two and two"}, "call-0123456789"),))
_RESULT = Message("observation", '{"sum": 4}', call_id="call-0123456789", name="add_up")
_SYSTEM = "You can count."
_TOOLS = (
    '[{"type": "function", "function": {"name": "add_up", "description": "Adds up.", "parameters": {"type": "object",'
    ' "properties": {"what": {"type": "string", "description": "What to add."}}, "required": ["what"]}}}]'
)


@dataclass(frozen=True)
class Ending:
    """How a turn ends. stop: the token that ends it, "" when the template writes none. before: what stands between the
    text and it (a blank, in some)."""

    stop: str = ""
    before: str = ""


@dataclass(frozen=True)
class Habits:
    """What was found. headers: texts after which the model writes, likeliest first. inner and last: endings of a plain
    answer inside and at the end of a conversation; call_inner and call_last: of tool calls.
    dialect: how tool calls must be given; tools_why_not: why the template cannot write them, "" when it can.
    default_system: the system prompt that it writes where a record has none. refuses: its words on a plain question.
    """

    headers: tuple[str, ...] = ()
    inner: Ending = field(default_factory=Ending)
    last: Ending = field(default_factory=Ending)
    call_inner: Ending = field(default_factory=Ending)
    call_last: Ending = field(default_factory=Ending)
    dialect: Dialect = field(default_factory=Dialect)
    tools_why_not: str = ""
    default_system: str = ""
    refuses: str = ""

    @property
    def stops(self) -> tuple[str, ...]:
        """Every stop, without repeats."""
        endings = (self.inner, self.last, self.call_inner, self.call_last)
        return tuple(dict.fromkeys(ending.stop for ending in endings if ending.stop))


class _Seen(NamedTuple):
    """A rendered probe: its text and where the words of each turn stand in it."""

    text: str
    places: list[tuple[int, int]]

    def before(self, turn: int) -> str:
        return self.text[self.places[turn - 1][1] : self.places[turn][0]]

    def after(self, turn: int) -> str:
        end = self.places[turn + 1][0] if turn + 1 < len(self.places) else len(self.text)
        return self.text[self.places[turn][1] : end]


def learn(template: AutoTemplate, render: Render, name: str) -> Habits:
    """Tries the template of that name. Never fails for a template that is odd: what is not found stays empty."""
    probe = _Probes(template, render, name)
    asked: _Seen | str
    bare: _Seen | str
    turns: _Seen | str
    why_not = ""
    # a few insist on a system prompt, or write nothing but tools
    for probe.tools, probe.system in product((name == "tool_use", name != "tool_use"), (None, _SYSTEM)):
        asked, bare, turns = probe.many(
            [((_USER,), True), ((_USER,), False), ((_USER, _ANSWER, _USER2, _ANSWER2), False)]
        )
        if not isinstance(turns, str):
            break
        why_not = why_not or turns
    if isinstance(turns, str):
        return Habits(refuses=why_not)
    shift = 1 if probe.system else 0
    plain_tools = probe.tools
    quiet = "" if isinstance(asked, str) else asked.after(shift)
    if not isinstance(asked, str) and not isinstance(bare, str):
        quiet = probe.common(quiet, bare.after(shift))
        header = asked.after(shift)[len(quiet) :]
    else:
        header = ""
    # a token that begins turns ends none; where the header is always there, the first turn's tokens tell
    openers = set(probe.tokens(header or turns.text[: turns.places[shift][0]]))
    start = turns.text[: turns.places[shift][0]]
    inner, last = probe.endings(turns.after(shift + 1), turns.after(shift + 3), openers, question=start)
    headers: list[str] = []
    if not isinstance(asked, str):
        headers = probe.headers(asked.after(shift), quiet, turns.before(shift + 1), inner.stop)
    habits = _with_tools(probe, Habits(tuple(headers), inner, last), openers)
    probe.tools = plain_tools
    return replace(habits, default_system=_default_system(probe))


def _with_tools(probe: _Probes, habits: Habits, openers: set[str]) -> Habits:
    why_not = ""
    probe.tools = True
    plain_stops = [ending.stop for ending in (habits.inner, habits.last) if ending.stop]
    for null_content, text_arguments, nine_ids in product((False, True), repeat=3):
        probe.dialect = dialect = Dialect(null_content, text_arguments, nine_ids)
        whole = probe.one((_USER, _CALL, _RESULT, _ANSWER))
        if isinstance(whole, str):
            why_not = why_not or whole
            continue
        call = len(whole.places) - 3
        if any(header in whole.after(call) for header in habits.headers):
            why_not = why_not or "it writes another turn after a call"
            continue
        inner_tail = last_tail = whole.after(call)
        ended = probe.one((_USER, _CALL))
        if not isinstance(ended, str):
            last_tail = ended.after(call)
        call_inner, call_last = probe.endings(inner_tail, last_tail, openers, plain_stops)
        headers = list(habits.headers)
        asked = probe.one((_USER, _CALL, _RESULT), generate=True)
        bare = probe.one((_USER, _CALL, _RESULT))
        if not isinstance(asked, str):
            quiet = asked.after(call + 1) if isinstance(bare, str) else bare.after(call + 1)
            headers += probe.headers(asked.after(call + 1), quiet, whole.before(call + 2), habits.inner.stop)
        return replace(
            habits,
            headers=tuple(dict.fromkeys(headers)),
            call_inner=call_inner,
            call_last=call_last,
            dialect=dialect,
        )
    return replace(habits, tools_why_not=why_not or "it leaves out the call or its result")


def _default_system(probe: _Probes) -> str:
    """The text that the template writes as a system prompt of its own: what a given prompt takes the place of."""
    if probe.system:
        return ""
    without = probe.one((_USER, _ANSWER))
    probe.system = _SYSTEM
    with_one = probe.one((_USER, _ANSWER))
    if isinstance(without, str) or isinstance(with_one, str):
        return ""
    start = with_one.text[: with_one.places[0][0]]
    rest = with_one.before(1)
    prefix = without.text[: without.places[0][0]]
    if prefix.startswith(start) and prefix.endswith(rest) and len(prefix) > len(start) + len(rest):
        return prefix[len(start) : len(prefix) - len(rest)]
    return ""


class _Probes:
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

    def many(self, wanted: list[tuple[tuple[Message, ...], bool]]) -> list[_Seen | str]:
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

    def one(self, messages: tuple[Message, ...], *, generate: bool = False) -> _Seen | str:
        return self.many([(messages, generate)])[0]

    def _seen(self, ready: Prepared, outcome: Outcome) -> _Seen | str:
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
                return f"it leaves out {shown(piece.text)}"
            low, high = turns.get(piece.message, (start, end))
            turns[piece.message] = min(low, start), max(high, end)
        places = list(turns.values())
        if places != sorted(places):
            return "it changes the order of the messages"
        return _Seen(outcome.text, places)

    # --- reading what was rendered ------------------------------------------------------------------------------------

    def tokens(self, text: str) -> list[str]:
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

    def headers(self, asked: str, bare: str, inner: str, stop: str) -> list[str]:
        """Headers from the text after a question: with the generation prompt, without it, and up to a given answer."""
        quiet = self.common(asked, bare)
        header = asked[len(quiet) :]
        if not header:
            # nothing is added: the header is always there, or there is none and the turn's own end is it
            _, found, rest = asked.partition(stop) if stop else (asked, "", "")
            header = rest if found and rest.strip() else self._last_token(asked)
            quiet = asked[: len(asked) - len(header)]
        # inner turns may lack what a generation prompt adds for thinking
        shared = self.common(asked, inner)[len(quiet) :]
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
