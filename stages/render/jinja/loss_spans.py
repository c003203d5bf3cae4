"""Where the answers stand in a rendered conversation, proven from the text.

    text     <|im_start|>user\\nTwo?<|im_end|>\\n<|im_start|>assistant\\nFour.<|im_end|>\\n
    marks                      ⟨  ⟩                                     ⟨   ⟩
    span                                                               └──────────────┘

First way, `by_marks`: two renders, with and without marks around every text. If they agree, the marks say which
characters are whose; the span runs from the end of the header before the answer's first mark to the end of the stop
after its last.

Second way, `stages.render.jinja.prefix_spans`: for an answer that marks cannot show (an empty one, a template that
counts characters), the conversation up to it must be a prefix of the whole. What neither way proves is a note, never a
guess.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from stages.core.conversation import Conversation, Message
from stages.core.display import shown
from stages.core.findings import Note

from .messages import FIRST_MARK, Piece, Prepared
from .probe import Traits
from .probe_texts import Ending
from .sandbox.environment import GENERATION
from .sandbox.requests import Outcome

ANSWERS = ("assistant", "function")


class Turn(NamedTuple):
    """One message's characters: [start, end) of what the model is to write, or of a text given to it."""

    message: int
    start: int
    end: int


class Located(NamedTuple):
    """Answers in order of appearance; given: the places of other marked messages; open: answers still to be found;
    lost: answers that the template leaves out or mixes with other messages, of which nothing can be trained; blocks:
    the template's generation blocks."""

    answers: list[Turn]
    given: list[Turn]
    open: list[int]
    lost: list[Note]
    notes: list[Note]
    blocks: tuple[tuple[int, int], ...] = ()


def by_marks(record: Conversation, ready: Prepared, outcome: Outcome, traits: Traits) -> Located | None:
    """Turns found from the marks of `outcome`; None when the marks do not show the order of the messages."""
    if outcome.marks is None:
        return None
    places = _places(ready.pieces, outcome.marks)
    if places is None:
        return None
    located = Located([], [], [], [], [], _blocks(outcome.marks))
    by_message: dict[int, list[int]] = {}
    for number, piece in enumerate(ready.pieces):
        by_message.setdefault(piece.message, []).append(number)
    if -1 in by_message and places[by_message[-1][0]] is None:
        located.notes.append(_excluded(record.system_at, "the system prompt", record.system or ""))
    starts = sorted(place[0] for place in places if place is not None)
    low = 0
    for position, message in enumerate(record.messages):
        numbers = by_message.get(position, [])
        kept = [place for number in numbers if (place := places[number]) is not None]
        if message.role in ANSWERS:
            changes = _changes(message, ready.pieces, numbers, places, outcome.text)
            (located.notes if kept else located.lost).extend(changes)
        elif numbers and not kept:
            located.notes.append(_excluded(message.at, f"the {message.role}'s text", message.content))
        if not kept:
            if message.role in ANSWERS and not numbers:
                located.open.append(position)
            continue
        first, last = min(place[0] for place in kept), max(place[1] for place in kept)
        if message.role not in ANSWERS:
            located.given.append(Turn(position, first, last))
            low = max(low, last)
            continue
        if first < low:
            return None
        limit = next((start for start in starts if start >= last), len(outcome.text))
        turn = _answer(outcome.text, record.messages, position, (low, first, last, limit), traits)
        if turn is None:
            located.open.append(position)
        else:
            located.answers.append(turn)
            low = turn.end
    located.lost.extend(_foreign(record, ready.pieces, places, located.answers, outcome.text))
    return located


def _blocks(marks: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """[start, end) of the outermost generation blocks."""
    opening, closing = (ord(mark) - FIRST_MARK for mark in GENERATION)
    blocks: list[tuple[int, int]] = []
    open_at: list[int] = []
    for mark, position in marks:
        if mark == opening:
            open_at.append(position)
        elif mark == closing and open_at:
            start = open_at.pop()
            if not open_at:
                blocks.append((start, position))
    return tuple(blocks)


def _foreign(
    record: Conversation,
    pieces: Sequence[Piece],
    places: Sequence[tuple[int, int] | None],
    answers: Sequence[Turn],
    text: str,
) -> list[Note]:
    """A note for each answer inside whose span another message's text stands: it would be trained as the answer's.

    Gemma 4 writes a call, its result and only then the text beside the call. What the template puts around the result
    carries no mark, so such a span cannot be cut to size.

    Args:
        record: the conversation.
        pieces: the marked texts.
        places: where each piece stands, [start, end), None where it was left out.
        answers: the answers' spans.
        text: the rendered text.
    """
    marked = {piece.message for piece in pieces}
    unmarked = [
        (position, core)
        for position, message in enumerate(record.messages)
        if position not in marked and message.role not in ANSWERS and (core := message.content.strip())
    ]
    standing = sorted((*place, piece.message) for piece, place in zip(pieces, places, strict=True) if place)
    starts = [start for start, _, _ in standing]
    notes = []
    for turn in answers:
        # pieces do not overlap, so that only the one before those that start inside can reach into the span
        first, last = bisect_left(starts, turn.start), bisect_left(starts, turn.end)
        touching = [piece for piece in standing[max(first - 1, 0) : last] if piece[1] > turn.start]
        own = [(start, end) for start, end, message in touching if message == turn.message]
        inside = [message for _, _, message in touching if message != turn.message]
        if not inside and unmarked:
            between = _between(turn, own, text)
            inside = [position for position, core in unmarked if any(core in gap for gap in between)]
        if inside:
            other = record.messages[inside[0]].role if inside[0] >= 0 else "system"
            other = {"function": "assistant", "observation": "tool"}.get(other, other)
            what = f"the chat template writes another message's text (role {other}) inside this answer"
            message = record.messages[turn.message]
            notes.append(Note("template.not-prefix-stable", message.at, what, shown(text[turn.start : turn.end])))
    return notes


def _between(turn: Turn, own: Sequence[tuple[int, int]], text: str) -> list[str]:
    """What stands between the first and the last of an answer's own texts and is none of them."""
    own = sorted(place for place in own if turn.start <= place[0] and place[1] <= turn.end)
    return [text[one[1] : other[0]] for one, other in pairwise(own) if one[1] < other[0]]


def _places(pieces: Sequence[Piece], marks: list[tuple[int, int]]) -> list[tuple[int, int] | None] | None:
    """Place of each piece, None where it was left out. None for all when an answer was written twice or torn."""
    seen: dict[int, list[int]] = {}
    for mark, position in marks:
        seen.setdefault(mark, []).append(position)
    places: list[tuple[int, int] | None] = []
    for number, piece in enumerate(pieces):
        opened, closed = seen.get(2 * number), seen.get(2 * number + 1)
        if opened is None and closed is None:
            places.append(None)
            continue
        if opened is None or closed is None or opened[0] > closed[0]:
            return None
        # a call's name may stand again in its result's header, an answer only once
        if len(opened) > 1 and piece.kind in ("text", "thought") and piece.message >= 0:
            return None
        places.append((opened[0], closed[0]))
    return places


def _answer(
    text: str, messages: Sequence[Message], position: int, room: tuple[int, int, int, int], traits: Traits
) -> Turn | None:
    """The span of one answer. room: end of the text before it, its first and last marked character, start of the next
    marked text."""
    low, first, last, limit = room
    before = text[low:first]
    starts = [low + found + len(header) for header in traits.headers if (found := before.rfind(header)) >= 0]
    if not starts:
        return None
    start = max(starts)
    if any(stop in text[start:first] for stop in traits.stops):
        return None  # a turn ends between: the header is another message's
    message = messages[position]
    if any(stop in key for call in message.calls for key in _keys(call.arguments) for stop in traits.stops):
        return None  # keys are not marked, so this stop could be taken for the turn's own
    calls = bool(message.calls)
    end = _end(text[last:limit], message, endings(traits, calls=calls, last=position == len(messages) - 1))
    return None if end is None else Turn(position, start, last + end)


def _keys(value: object) -> Iterator[str]:
    """Every key of a JSON value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)


def endings(traits: Traits, *, calls: bool, last: bool) -> list[Ending]:
    """Endings to expect, likeliest first."""
    plain = traits.last if last else traits.inner
    if not calls:
        return [plain]
    return [plain, traits.call_last if last else traits.call_inner]


def _end(tail: str, message: Message, expected: list[Ending]) -> int | None:
    """How many characters after the last marked one belong to the turn."""
    for stop, before in ((ending.stop, ending.before) for ending in expected):
        found = tail.find(stop) if stop else -1
        if found < 0:
            continue
        if not message.calls and tail[:found].strip() != before.strip():
            continue
        return found + len(stop)
    if message.calls or any(ending.stop for ending in expected):
        return None
    kept = message.content[len(message.content.rstrip()) :]
    return len(kept) if tail.startswith(kept) else 0


def _changes(
    message: Message,
    pieces: Sequence[Piece],
    numbers: Sequence[int],
    places: Sequence[tuple[int, int] | None],
    text: str,
) -> list[Note]:
    """What the template does to an answer's own words."""
    notes = []
    for number in numbers:
        piece, place = pieces[number], places[number]
        if place is None:
            if piece.kind == "thought":
                what = "the chat template leaves out the reasoning of this turn"
                notes.append(Note("template.thought-dropped", message.at, what, shown(piece.text)))
            else:
                what = "a tool call" if piece.kind == "call" else "the answer"
                what = f"the chat template leaves out {what}"
                notes.append(Note("template.changes-answer", message.at, what, shown(piece.text)))
                break
        elif piece.kind != "call" and text[place[0] : place[1]] != piece.text:
            what = "the chat template writes this text otherwise"
            notes.append(Note("template.changes-answer", message.at, what, shown(text[place[0] : place[1]])))
            break
    return notes


def _excluded(at: str, what: str, text: str) -> Note:
    return Note("template.drops-context", at, f"the chat template leaves out {what}", shown(text))
