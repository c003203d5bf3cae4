"""Results: what a chat template wrote for a record, with the characters that are trained, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from stages.core.conversation import Conversation, Message
from stages.core.display import shown
from stages.core.findings import Note

from .chat_template import AutoTemplate
from .findings import generation_notes, stop_notes, stops_of, traits_seen, within
from .loss_spans import Located, Turn
from .messages import Prepared
from .probe import Traits
from .record_variables import unused_notes
from .sandbox.requests import Outcome
from .token_spans import RenderedText

_RULES = {"refused": "template.refuses", "broken": "template.refuses", "limit": "template.limit"}


@dataclass(frozen=True)
class Results:
    """Makes results. train_on_prompt: the whole text is trained. mask_history: of the answers, only the last one."""

    template: AutoTemplate
    train_on_prompt: bool
    mask_history: bool

    def finish(
        self, record: Conversation, ready: Prepared, text: str, found: Located, traits: Traits
    ) -> RenderedText | Note:
        """The result for one record.

        ready: the record as the template got it. text: what it wrote. found: where the turns stand in it.
        """
        answers = sorted(found.answers, key=lambda turn: turn.start)
        if any(one.end > other.start for one, other in pairwise(answers)):
            return Note("template.not-prefix-stable", "", "two answers share a part of the rendered text")
        notes = list(found.notes)
        if ready.tools:
            notes += _tools_left_out(record, ready, text)
        source = self.template.sources[self.template.name_for(bool(ready.tools))]
        notes += unused_notes(record, source, text)
        trained = self._trained(record.messages, answers, found, text)
        if not self.train_on_prompt:
            notes += generation_notes(record, answers, found.blocks, source)
        notes += stop_notes(record, answers, trained, text, stops_of(self.template, traits))
        return RenderedText(text, trained, tuple(notes), traits_seen(record, traits, text, trained))

    def _trained(
        self, messages: Sequence[Message], answers: list[Turn], found: Located, text: str
    ) -> tuple[tuple[int, int], ...]:
        if self.train_on_prompt:
            return ((0, len(text)),) if text else ()
        final = max((turn.message for turn in answers), default=-1)
        spans = []
        for turn in answers:
            weight = messages[turn.message].weight
            if weight == 0 or (self.mask_history and turn.message < final):
                continue
            spans += within((turn.start, turn.end), found.blocks)
        # a message that is not an answer is trained only where the record says so
        spans += [(turn.start, turn.end) for turn in found.given if messages[turn.message].weight]
        return tuple(sorted(span for span in spans if span[0] < span[1]))


def refusal(outcome: Outcome) -> Note:
    """Why the template wrote nothing."""
    words = {
        "refused": "the chat template refuses this conversation",
        "broken": "the chat template fails on this conversation",
        "limit": "the chat template needs more than it may use for this conversation",
        "unsafe": "the chat template tries what it may not",
        "syntax": "the chat template is not valid Jinja",
    }
    rule = _RULES.get(outcome.error, "template.unsafe")
    return Note(rule, "", f"{words[outcome.error]}: {shown(outcome.message, 200)}")


def _tools_left_out(record: Conversation, ready: Prepared, text: str) -> list[Note]:
    for tool in ready.tools or ():
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and name not in text:
            what = "the chat template leaves out the tool definitions"
            return [Note("template.drops-context", record.tools_at, what, shown(name))]
    return []


def pair(
    chosen: RenderedText | Note, rejected: RenderedText | Note, record: Conversation
) -> tuple[RenderedText, RenderedText] | Note:
    """The two texts of a preference record; a note when one is missing or their prompts differ."""
    if isinstance(chosen, Note):
        return chosen
    if isinstance(rejected, Note):
        return rejected
    if len(chosen.spans) == 1 and len(rejected.spans) == 1:
        start = chosen.spans[0][0]
        if start == rejected.spans[0][0] and chosen.text[:start] == rejected.text[:start]:
            return chosen, rejected
    at = record.chosen.at if record.chosen else ""
    return Note("template.not-prefix-stable", at, "the prompt is written otherwise for the two answers")
