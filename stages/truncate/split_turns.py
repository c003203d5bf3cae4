"""`overlong: split`: a conversation longer than `cutoff_len` becomes several examples, cut between turns.

    limit 100    sys 20 | u a 40 | u a 30 | u a 50 | u a 20
    examples     sys u a u a (90)   sys u a u a (90)          every example begins with the system prompt and tools

Turns are taken in order into the open example while they fit. A single turn that does not fit is left to the
proportional cut. Pieces of text are tokenized one by one, so lengths add up exactly, and one render gives the cost of
the beginning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.core.conversation import Conversation
from stages.core.findings import Note
from stages.core.segments import Kept, Rendering
from stages.formats.messages import ANSWERS
from stages.tokenize.backends import Encoder
from stages.tokenize.batch import Encoded, encode

from . import CutOptions


def group_turns(turns: list[int], opening: int, limit_tokens: int) -> list[tuple[int, int]]:
    """Groups of turns that share an example, each within the limit unless a single turn exceeds it.

    Args:
        turns: Tokens of each turn, without the opening.
        opening: Tokens that every example begins with.
        limit_tokens: Most tokens of an example.

    Returns:
        Ranges of turns (first, end exclusive), in order.
    """
    groups = []
    start, size = 0, opening
    for at, tokens in enumerate(turns):
        if at > start and size + tokens > limit_tokens:
            groups.append((start, at))
            start, size = at, opening
        size += tokens
    groups.append((start, len(turns)))
    return groups


def split_overlong(
    kept: list[Kept], encoded: Encoded, renderer: Rendering, encoder: Encoder, options: CutOptions
) -> tuple[list[Kept], NDArray[np.int64]]:
    """Splits the overlong records of a batch between their turns.

    Args:
        kept: Records with their conversations and rendered forms; one without a conversation is not split.
        encoded: The tokenized batch of `kept`.
        renderer: Renders the parts.
        encoder: Tokenizes their beginnings.
        options: The limit.

    Returns:
        The parts in input order, each with the record that it is of, and how many examples each record became
        (NDArray[int64], [records]).
    """
    result: list[Kept] = []
    pieces = np.ones(len(kept), dtype=np.int64)
    at = 0
    for number, (entry, count) in enumerate(zip(kept, encoded.counts.tolist(), strict=True)):
        lengths = encoded.segments[at : at + count].tolist()
        at += count
        parts = _parts(entry, lengths, renderer, encoder, options)
        pieces[number] = len(parts)
        result += parts
    return result, pieces


def _parts(entry: Kept, lengths: list[int], renderer: Rendering, encoder: Encoder, options: CutOptions) -> list[Kept]:
    record, conversation, _ = entry
    limit = options.limit_tokens - options.reserved_tokens
    if conversation is None or sum(lengths) <= limit or len(lengths) <= 2 or not _in_pairs(conversation):
        return [entry]
    notes: list[Note] = []
    rest = renderer.render(conversation._replace(messages=conversation.messages[2:]), notes)
    if rest is None:
        return [entry]
    opening = int(encode([rest], encoder).segments[0]) - lengths[2]
    turns = [source + target for source, target in zip(lengths[::2], lengths[1::2], strict=True)]
    pairs = len(conversation.messages) // 2
    if len(turns) < pairs:
        return [entry]  # answers that are not trained stand in their prompts: lengths of single turns are unknown
    turns = [*turns[: pairs - 1], sum(turns[pairs - 1 :])]  # what follows the last answer ends its turn
    turns[0] -= opening
    parts: list[Kept] = []
    for start, end in group_turns(turns, opening, limit):
        part = conversation._replace(messages=conversation.messages[2 * start : 2 * end])
        rendered = renderer.render(part, notes)
        if rendered is None:
            return [entry]
        parts.append((record, part, rendered))
    return parts


def _in_pairs(conversation: Conversation) -> bool:
    """Whether question and answer alternate, as they need not with the tokenizer's own chat template."""
    roles = [message.role for message in conversation.messages]
    return len(roles) % 2 == 0 and not ANSWERS & set(roles[::2]) and ANSWERS.issuperset(roles[1::2])
