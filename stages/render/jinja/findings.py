"""What a chat template does that the user should know, read off a proven text: stops, thoughts, prompts of its own.

    <|im_start|>assistant\\n<think>\\n\\n</think>\\n\\nFour.<|im_end|>\\n
                          └──────────────┬──────────────┘
                   trained, with an empty thought, and ended by a stop

`{% generation %}` blocks are the template's own word on what is trained: where they say less than the proven answer,
they are followed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.core.conversation import Conversation
from stages.core.findings import Note

from .chat_template import AutoTemplate
from .probe import Traits

if TYPE_CHECKING:
    from .loss_spans import Turn


Span = tuple[int, int]

_EMPTY_THOUGHT = re.compile(
    r"<(think|thinking|thought|seed:think)>\s*</\1>|<\|channel>thought\s*<channel\|>|\[THINK\]\s*\[/THINK\]"
)


def within(span: Span, blocks: Sequence[Span]) -> list[Span]:
    """The parts of a span that lie in blocks; the span itself where no block touches it."""
    parts = [(max(span[0], start), min(span[1], end)) for start, end in blocks]
    return [(start, end) for start, end in parts if start < end] or [span]


def generation_notes(record: Conversation, answers: Sequence[Turn], blocks: Sequence[Span], source: str) -> list[Note]:
    """A note on the first answer that the template's generation blocks leave out, or that they could not be read for.

    Args:
        record: the conversation.
        answers: its answers, proven.
        blocks: [start, end) of each generation block; empty when there are none or they cannot be seen.
        source: the template.
    """
    if "endgeneration" not in source:
        return []
    for turn in answers:
        message = record.messages[turn.message]
        if message.weight == 0 or any(start < turn.end and turn.start < end for start, end in blocks):
            continue
        why = "it stands in none of them" if blocks else "they cannot be seen in this conversation"
        what = f"the chat template says in generation blocks what is trained, but this answer is trained whole: {why}"
        return [Note("template.generation-differs", message.at, what)]
    return []


def stop_notes(
    record: Conversation, answers: Sequence[Turn], trained: Sequence[Span], text: str, stops: Sequence[str]
) -> list[Note]:
    """Notes on trained answers that end without a stop token: the last one, inner ones and calls, each kind once.

    Args:
        record: the conversation.
        answers: its answers in order.
        trained: what is trained, sorted.
        text: the rendered text.
        stops: the tokens at which generation ends.
    """
    notes: dict[str, Note] = {}
    starts = [start for start, _ in trained]
    for number, turn in enumerate(answers):
        at = bisect_left(starts, turn.end) - 1  # the last trained span that begins in this answer
        if at < 0 or starts[at] < turn.start or text.endswith(tuple(stops), turn.start, trained[at][1]):
            continue
        message = record.messages[turn.message]
        last = number == len(answers) - 1
        kind = "a tool call" if message.calls else "the last answer" if last else "an answer that more turns follow"
        what = f"the chat template ends {kind} without a stop token, so the model does not learn to stop there"
        notes.setdefault(kind, Note("template.no-stop", message.at, what))
    return list(notes.values())


def stops_of(template: AutoTemplate, traits: Traits) -> tuple[str, ...]:
    """The tokens at which generation ends: those that the model names, and what ends a plain answer."""
    named = [*template.stops, template.variables.get("eos_token", ""), traits.inner.stop, traits.last.stop]
    return tuple(stop for stop in dict.fromkeys(named) if stop)


def traits_seen(record: Conversation, traits: Traits, text: str, trained: Sequence[Span]) -> tuple[str, ...]:
    """What the template added, of `stages.core.segments.TRAITS`."""
    seen = []
    led = bool(record.system) or (bool(record.messages) and record.messages[0].role == "system")
    if traits.default_system and not led and traits.default_system in text:
        seen.append("default-system")
    own = [message.content for message in record.messages]
    own += [answer.content for answer in (record.chosen, record.rejected) if answer is not None]
    for start, end in trained:
        found = _EMPTY_THOUGHT.search(text, start, end)
        if found is not None and not any(found.group() in content for content in own):
            seen.append("empty-thought")
            break
    return tuple(seen)
