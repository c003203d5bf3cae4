"""What a chat template does around an answer, found by rendering a few short conversations and looking.

    <|im_start|>user\\n Two? <|im_end|>\\n<|im_start|>assistant\\n Four. <|im_end|>\\n<|im_start|>user\\n ...
                            └──────┬──────┘└────────┬─────────┘       └────┬───┘
                          end of the user's turn  header           stop (what the model must learn to write)

The header is what the generation prompt adds: the model writes from its end on. The stop is the last token that the
end of the text and the end of an inner turn have in common. Nothing here depends on a template's name or on
generation tags.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product

from stages.core.conversation import Message, ToolCall

from .chat_template import AutoTemplate
from .messages import Dialect
from .probe_texts import Ending, Probes, Render, Seen

_USER, _ANSWER = Message("user", "What is two and two?"), Message("assistant", "It is four.")
_USER2, _ANSWER2 = Message("user", "And three more?"), Message("assistant", "That makes seven.")

# an id that no template takes for one of its own, and an argument that can be marked
_CALL = Message("function", "", calls=(ToolCall("add_up", {"what": "two and two"}, "call-0123456789"),))
_RESULT = Message("observation", '{"sum": 4}', call_id="call-0123456789", name="add_up")
_SYSTEM = "You can count."


@dataclass(frozen=True)
class Traits:
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


def learn(template: AutoTemplate, render: Render, name: str) -> Traits:
    """Tries the template of that name. Never fails for a template that is odd: what is not found stays empty."""
    probe = Probes(template, render, name)
    requested: Seen | str
    bare: Seen | str
    turns: Seen | str
    why_not = ""
    # a few insist on a system prompt, or write nothing but tools
    for probe.tools, probe.system in product((name == "tool_use", name != "tool_use"), (None, _SYSTEM)):
        requested, bare, turns = probe.many(
            [((_USER,), True), ((_USER,), False), ((_USER, _ANSWER, _USER2, _ANSWER2), False)]
        )
        if not isinstance(turns, str):
            break
        why_not = why_not or turns
    if isinstance(turns, str):
        return Traits(refuses=why_not)
    shift = 1 if probe.system else 0
    plain_tools = probe.tools
    quiet = "" if isinstance(requested, str) else requested.after(shift)
    if not isinstance(requested, str) and not isinstance(bare, str):
        quiet = probe.common(quiet, bare.after(shift))
        header = requested.after(shift)[len(quiet) :]
    else:
        header = ""
    # a token that begins turns ends none; where the header is always there, the first turn's tokens tell
    openers = set(probe.tokens(header or turns.text[: turns.places[shift][0]]))
    start = turns.text[: turns.places[shift][0]]
    inner, last = probe.endings(turns.after(shift + 1), turns.after(shift + 3), openers, question=start)
    headers: list[str] = []
    if not isinstance(requested, str):
        headers = probe.headers(requested.after(shift), quiet, turns.before(shift + 1), inner.stop)
    traits = _with_tools(probe, Traits(tuple(headers), inner, last), openers)
    probe.tools = plain_tools
    return replace(traits, default_system=_default_system(probe))


def _with_tools(probe: Probes, traits: Traits, openers: set[str]) -> Traits:
    why_not = ""
    probe.tools = True
    plain_stops = [ending.stop for ending in (traits.inner, traits.last) if ending.stop]
    for null_content, text_arguments, nine_ids in product((False, True), repeat=3):
        probe.dialect = dialect = Dialect(null_content, text_arguments, nine_ids)
        whole = probe.one((_USER, _CALL, _RESULT, _ANSWER))
        if isinstance(whole, str):
            why_not = why_not or whole
            continue
        call = len(whole.places) - 3
        if any(header in whole.after(call) for header in traits.headers):
            why_not = why_not or "it writes another turn after a call"
            continue
        inner_tail = last_tail = whole.after(call)
        ended = probe.one((_USER, _CALL))
        if not isinstance(ended, str):
            last_tail = ended.after(call)
        call_inner, call_last = probe.endings(inner_tail, last_tail, openers, plain_stops)
        headers = list(traits.headers)
        requested = probe.one((_USER, _CALL, _RESULT), generate=True)
        bare = probe.one((_USER, _CALL, _RESULT))
        if not isinstance(requested, str):
            quiet = requested.after(call + 1) if isinstance(bare, str) else bare.after(call + 1)
            headers += probe.headers(requested.after(call + 1), quiet, whole.before(call + 2), traits.inner.stop)
        return replace(
            traits,
            headers=tuple(dict.fromkeys(headers)),
            call_inner=call_inner,
            call_last=call_last,
            dialect=dialect,
        )
    return replace(traits, tools_why_not=why_not or "it leaves out the call or its result")


def _default_system(probe: Probes) -> str:
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
