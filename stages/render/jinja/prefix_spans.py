"""The second way to an answer's place in a rendered conversation: what stands before it must be a prefix of the whole.

    whole   <|im_start|>user\\nTwo?<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n<|im_end|>\\n
    asked   <|im_start|>user\\nTwo?<|im_end|>\\n<|im_start|>assistant\\n
    span                                                            └──────────────┬───────────┘

For an answer that marks cannot show: an empty one, or one of a template that counts characters or cuts them. Price: two
more renders an answer. See `stages.render.jinja.loss_spans` for the first way.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.core.conversation import Message
from stages.core.display import shown
from stages.core.findings import Note

from .loss_spans import Turn, endings
from .probe import Traits
from .probe_texts import Ending
from .sandbox.requests import Outcome


def by_prefix(
    text: str, messages: Sequence[Message], position: int, renders: tuple[Outcome, Outcome], traits: Traits
) -> Turn | Note | str:
    """One answer, from two more renders: the conversation before it with the generation prompt, and up to its end.

    Returns why not where the whole text does not begin with them; a note of another rule where words are left out.
    """
    message = messages[position]
    requested, ended = renders
    for outcome in renders:
        if outcome.error:
            return f"a part of it is refused: {outcome.message}"
    start = _start(text, requested.text, traits)
    if start is None:
        return "what stands before this answer is written otherwise when the answer follows"
    expected = endings(traits, calls=bool(message.calls), last=position == len(messages) - 1)
    alone = endings(traits, calls=bool(message.calls), last=True)
    end = _prefix_end(text, ended.text, start, (alone, expected), message)
    if end is None:
        return "this answer is written otherwise when more follows"
    span = text[start:end]
    wanted = [call.name for call in message.calls]
    answer = parted(message)[1]
    missing = next((part for part in [*wanted, answer] if part not in span), None)
    if missing == answer and "</think>" in answer:
        what = "the chat template takes </think> for the end of a thought and leaves out the words before it"
        return Note("template.changes-answer", message.at, what, shown(answer))
    if missing is not None:
        return f"its text is not found where it should stand: {shown(missing, 40)}"
    return Turn(position, start, end)


def parted(message: Message) -> tuple[str, str]:
    """The thought and the answer of a message, however they are written."""
    if message.reasoning:
        return message.reasoning.strip(), message.content.strip()
    before, closed, after = message.content.partition("</think>")
    if not closed:
        return "", message.content.strip()
    before = before.strip()
    return (before[len("<think>") :] if before.startswith("<think>") else before).strip(), after.strip()


def thought_note(message: Message, span: str) -> Note | None:
    """A note when the thought of an answer found by the second way is not in its span."""
    thought = parted(message)[0]
    if not thought or thought in span:
        return None
    what = "the chat template leaves out the reasoning of this turn"
    return Note("template.thought-dropped", message.at, what, shown(thought))


def _start(text: str, requested: str, traits: Traits) -> int | None:
    if text.startswith(requested):
        return len(requested)
    for header in traits.headers:
        if requested.endswith(header) and text.startswith(requested[: len(requested) - len(header)]):
            base = len(requested) - len(header)
            for other in traits.headers:
                if text.startswith(other, base):
                    return base + len(other)
    return None


def _prefix_end(
    text: str, ended: str, start: int, both: tuple[list[Ending], list[Ending]], message: Message
) -> int | None:
    """End of the turn: where `ended`, less its own stop, stops being the whole text, plus the stop standing there.

    both: endings of this answer as the last one, and where it stands. Without any stop the turn ends with its words.
    """
    alone, expected = both
    for ending in alone:
        found = ended.rfind(ending.stop, start) if ending.stop else -1
        if found < 0 or not text.startswith(ended[:found]):
            continue
        for following in (ending, *expected):
            if following.stop and text.startswith(following.stop, found):
                return found + len(following.stop)
    if any(ending.stop for ending in alone) or not text.startswith(ended):
        return None
    if message.calls:
        return len(ended)
    core = message.content.strip()
    words = text.rfind(core, start, len(ended)) + len(core) if core else start
    kept = message.content[len(message.content.rstrip()) :]
    words += len(kept) if text.startswith(kept, words) else 0
    for ending in expected:
        if ending.stop and text.startswith(ending.before + ending.stop, words):
            return words + len(ending.before) + len(ending.stop)
    return words
