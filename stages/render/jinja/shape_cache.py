"""The same proof at half the cost: conversations of one shape differ in their texts only.

    shape      system? user assistant user assistant
    skeleton   "<|im_start|>user\\n" · "<|im_end|>\\n<|im_start|>assistant\\n" · "<|im_end|>\\n..." · ...
    predicted  skeleton with this record's texts in the gaps

A conversation of our own of that shape is proven by marks, and what stands between its texts is kept. For a record
one render is then enough: where it equals the prediction, character for character, every text stands where the
prediction put it. What a shape is does not depend on the records seen before, so neither does a result. Anything else
(white space that the template trims, a thought, a tool call) takes the way of `stages.render.jinja.loss_spans`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from stages.core.conversation import Conversation, Message
from stages.formats.message_keys import given_keys

from .loss_spans import ANSWERS, Located, Turn, by_marks
from .messages import MAX_PIECES, Prepared, has_marks, prepare
from .probe import Traits
from .record_variables import variables_of
from .sandbox.process import Wall
from .sandbox.requests import Item, Outcome

Shape = tuple[bool, tuple[str, ...]]
MAX_SHAPES = 512
MAX_TURNS = 64  # longer conversations are too rare to have a second of their shape


class Skeleton(NamedTuple):
    """literals: what stands before, between and after the texts. answers: (text's number, characters of the span before
    its text, and after it). blocks: the answers stand whole in generation blocks."""

    literals: tuple[str, ...]
    answers: tuple[tuple[int, int, int], ...]
    blocks: bool = False


def shape_of(record: Conversation) -> Shape | None:
    """The shape of a conversation of plain texts; None when it holds what a template may treat in its own way."""
    if record.tools or record.system_keys or len(record.messages) > MAX_TURNS or variables_of(record):
        return None
    for message in record.messages:
        text = message.content
        if not text or message.calls or message.reasoning is not None or message.name is not None or "think>" in text:
            return None
        if message.results:
            return None
        if message.extras and given_keys(message):
            return None
    if has_marks(record):
        return None
    return bool(record.system), tuple([message.role for message in record.messages])


def sample_of(shape: Shape) -> Conversation:
    """A conversation of that shape with texts that no template treats in a special way."""
    system, roles = shape
    messages = tuple([Message(role, f"Words of turn {number}.") for number, role in enumerate(roles)])
    return Conversation(messages, "Words of the system." if system else None)


def _texts(record: Conversation) -> list[str]:
    texts = [message.content for message in record.messages]
    return [record.system, *texts] if record.system else texts


def skeleton_of(record: Conversation, ready: Prepared, outcome: Outcome, located: Located) -> Skeleton | None:
    """What a record proven by marks teaches about its shape; None when the template did more than fill in its texts."""
    texts = _texts(record)
    if located.open or located.lost or located.notes or [piece.text for piece in ready.pieces] != texts:
        return None
    if located.blocks and not all(_covered(turn, located.blocks) for turn in located.answers):
        return None  # the template trains less than whole answers
    marks = [(mark, place) for mark, place in outcome.marks or () if mark < 2 * MAX_PIECES]  # not those of blocks
    if [mark for mark, _ in marks] != list(range(2 * len(texts))):
        return None  # not each text once and in order
    places = [place for _, place in marks]
    edges = [0, *places, len(outcome.text)]
    literals = tuple(outcome.text[edges[at] : edges[at + 1]] for at in range(0, len(edges), 2))
    shift = len(texts) - len(record.messages)
    answers = []
    for message, start, end in located.answers:
        number = message + shift
        answers.append((number, places[2 * number] - start, end - places[2 * number + 1]))
    return Skeleton(literals, tuple(answers), bool(located.blocks))


def _covered(turn: Turn, blocks: tuple[tuple[int, int], ...]) -> bool:
    return any(start <= turn.start and turn.end <= end for start, end in blocks)


def by_shape(record: Conversation, skeleton: Skeleton, text: str) -> Located | None:
    """The turns, when the text is what the skeleton predicts for this record."""
    texts = _texts(record)
    parts = [skeleton.literals[0]]
    for own, literal in zip(texts, skeleton.literals[1:], strict=True):
        parts += (own, literal)
    if "".join(parts) != text:
        return None
    starts, at = [], 0
    for index, part in enumerate(parts):
        if index & 1:
            starts.append(at)
        at += len(part)
    shift = len(texts) - len(record.messages)
    located = Located([], [], [], [], [])
    for number, before, after in skeleton.answers:
        start = starts[number]
        located.answers.append(Turn(number - shift, start - before, start + len(texts[number]) + after))
    for position, message in enumerate(record.messages):
        if message.weight and message.role not in ANSWERS:
            start = starts[position + shift]
            located.given.append(Turn(position, start, start + len(message.content)))
    if skeleton.blocks:
        return located._replace(blocks=tuple([(turn.start, turn.end) for turn in located.answers]))
    return located


class Skeletons:
    """The skeleton of every shape that was met, learned from conversations of our own, so that no record's result
    depends on those before it."""

    def __init__(self, name: str, wall: Wall) -> None:
        self._name = name  # of the template, where there are several
        self._wall = wall
        self._known: dict[Shape, Skeleton | None] = {}

    def get(self, shape: Shape) -> Skeleton | None:
        """The skeleton of a shape; None where it is not known, or where none could be proven."""
        return self._known.get(shape)

    def learn(self, shapes: Iterable[Shape], traits: Traits) -> None:
        """Renders a sample of each shape that is new."""
        new = [shape for shape in dict.fromkeys(shapes) if shape not in self._known]
        if not new:
            return
        if len(self._known) + len(new) > MAX_SHAPES:
            self._known.clear()
        samples = [sample_of(shape) for shape in new]
        prepared = [prepare(sample, traits.dialect) for sample in samples]
        readies = [ready for ready in prepared if isinstance(ready, Prepared)]
        items = [Item(self._name, ready.messages, marked=True) for ready in readies]
        for shape, sample, ready, outcome in zip(new, samples, readies, self._wall.render(items), strict=True):
            found = None if outcome.error else by_marks(sample, ready, outcome, traits)
            self._known[shape] = None if found is None else skeleton_of(sample, ready, outcome, found)
