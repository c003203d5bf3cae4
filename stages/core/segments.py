"""What rendering makes of a record: pieces of text and special ids, in segments, each of them trained or not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol

from .conversation import Conversation
from .findings import Note
from .records import Record

Piece = str | int
Segment = list[Piece]

TRAITS = ("empty-thought", "thought-stripped", "default-system")


class Rendered(NamedTuple):
    """One example: its segments and, for each, 1 where it is trained. `label` is KTO's, 255 elsewhere. traits: what the
    template added to the record or took from it, of TRAITS."""

    segments: list[Segment]
    trained: list[int]
    label: int = 255
    traits: tuple[str, ...] = ()


class Rendering(Protocol):
    """Whatever turns a record into segments, or says in a note why it cannot."""

    def render(self, record: Conversation, notes: list[Note]) -> Rendered | None: ...


Render = Callable[[Conversation, list[Note]], Rendered | None]  # as Rendering.render
RenderPlain = Callable[[list[str], bool], Rendered]  # (texts of a record, whether the first is a system prompt)

# a kept record, its conversation (None where the fast path took it) and its rendered form
Kept = tuple[Record, Conversation | None, Rendered]


@functools.cache
def template_traits(*found: bool) -> tuple[str, ...]:
    """The names of those that were found, in the order of TRAITS."""
    return tuple(name for name, has in zip(TRAITS, found, strict=True) if has)
