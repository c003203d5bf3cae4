"""Lengths: `cutoff_len` applied to examples, and what becomes of each.

    segments before the cut -> cut -> lengths after it -> notes -> kept, rejected, or dropped for its length

The ids stay as they were tokenized; only lengths are cut here, so that another cutoff needs no tokenizer. An example is
kept, dropped for its length (`overlong: drop`), or rejected because the cut left it nothing to train on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.core.collector import Tally
from stages.core.findings import Note
from stages.core.records import Chunk, Record

from . import CutOptions
from .apply import cut, example_tokens, trained_tokens

KEPT, REJECTED, DROPPED = 0, 1, 2


class Segments(NamedTuple):
    """Examples before any cut.

    tokens: of each segment (int32, [segments]). trained: 1 where a segment carries a loss (uint8, [segments]). counts:
    segments of each example (int32, [examples]).
    """

    tokens: NDArray[np.int32]
    trained: NDArray[np.uint8]
    counts: NDArray[np.int32]


class CutLengths(NamedTuple):
    """Examples under a cut, one item each.

    changed: whether the cut took anything (bool). tokens_in, trained_in: before the cut; tokens, trained: after it
    (int64). fate: KEPT, REJECTED by the cut, or DROPPED for its length (uint8).
    """

    changed: NDArray[np.bool_]
    tokens_in: NDArray[np.int64]
    trained_in: NDArray[np.int64]
    tokens: NDArray[np.int64]
    trained: NDArray[np.int64]
    fate: NDArray[np.uint8]


# (example, notes on it) -> the fate that follows from them, None: the one it has
Judge = Callable[[int, list[Note]], int | None]


class Examples(NamedTuple):
    """Lengths of a chunk's kept records, one item each, in input order.

    record: index in the file (int64). tokens_in, trained_in: before the cut; tokens, trained: after it (int32).
    segments: how many segments (int32). hash: 64-bit content hash (uint64). fate: 0 kept, 1 rejected by the cut, 2
    dropped for its length (uint8). cache: the file that holds the ids.
    """

    cache: str
    record: NDArray[np.int64]
    line: NDArray[np.int64]
    tokens_in: NDArray[np.int32]
    trained_in: NDArray[np.int32]
    tokens: NDArray[np.int32]
    trained: NDArray[np.int32]
    segments: NDArray[np.int32]
    hash: NDArray[np.uint64]
    fate: NDArray[np.uint8]


def cut_examples(
    options: CutOptions, overlong: str, segments: Segments, judge: Judge, *, every_note: bool = True
) -> CutLengths:
    """Cuts examples and decides what becomes of each.

    Args:
        options: How lengths are cut.
        overlong: truncate | drop | error | split.
        segments: The examples before any cut.
        judge: Called with each example on which there are notes.
        every_note: False where only notes matter that are errors unless a policy says otherwise; the notes about the
            many examples that are cut and stay good are then not made.

    Returns:
        Lengths and fates.
    """
    kept, changed = cut(segments.tokens, segments.counts, options)
    found = CutLengths(
        changed=changed,
        tokens_in=example_tokens(segments.tokens, segments.counts, options),
        trained_in=trained_tokens(segments.tokens, segments.trained, segments.counts, options),
        tokens=example_tokens(kept, segments.counts, options),
        trained=trained_tokens(kept, segments.trained, segments.counts, options),
        fate=np.full(len(segments.counts), KEPT, dtype=np.uint8),
    )
    if overlong == "drop":
        # of a prompt to answer only the prompt has to fit
        found.fate[changed if options.kind == "prompt" else found.tokens_in > options.limit_tokens] = DROPPED
    borders = np.zeros(len(segments.counts) + 1, dtype=np.int64)
    np.cumsum(segments.counts, out=borders[1:])
    for example in _suspects(found, options, overlong, every_note).tolist():
        first, last = int(borders[example]), int(borders[example + 1])
        before, after = segments.tokens[first:last].tolist(), kept[first:last].tolist()
        if found.fate[example] == DROPPED:
            notes = [_dropped(before)]
        else:
            trained = segments.trained[first:last].tolist()
            notes = _cut_notes(options, overlong, before, after, trained, int(found.trained[example]))
        fate = judge(example, notes) if notes else None
        if fate is not None:
            found.fate[example] = fate
    return found


def _suspects(found: CutLengths, options: CutOptions, overlong: str, every_note: bool) -> NDArray[np.int64]:
    """Examples about which there may be something to say (int64, [suspects])."""
    too_long = found.tokens_in > options.limit_tokens
    look = found.trained <= options.reserved_tokens
    if options.kind not in ("lm", "pref", "unpaired"):
        look = np.zeros_like(look)
    if every_note or options.kind != "lm":
        look |= found.changed
        if options.kind != "prompt":
            look |= too_long
    elif overlong == "error":
        look |= too_long
    return np.flatnonzero(look)


def cut_chunk(
    options: CutOptions, overlong: str, tally: Tally, chunk: Chunk, sections: Mapping[str, NDArray[Any]], cache: str
) -> Examples:
    """Cuts the examples of a chunk; what it costs is judged and counted in `tally`.

    Args:
        options: How lengths are cut.
        overlong: truncate | drop | error | split.
        tally: Of the chunk's records.
        chunk: The chunk with its bytes, from which rejected records are taken.
        sections: segments, trained, counts, places and hash, as the cache file holds them.
        cache: Path of the cache file.

    Returns:
        What is kept of each example.
    """
    places = sections["places"].reshape(-1, 4)

    def judge(example: int, notes: list[Note]) -> int | None:
        number, line, offset, size = places[example].tolist()
        if overlong == "split" and np.count_nonzero(places[:, 0] == number) > 1:
            # a piece of a conversation that goes on elsewhere: it is dropped, the record is not rejected
            return DROPPED if notes[0].rule == "length.no-trained-token" else None
        data = (chunk.data or b"")[offset - chunk.start : offset - chunk.start + size]
        return REJECTED if tally.judge(Record(data, line, number, offset), notes) else None

    segments = Segments(sections["segments"], sections["trained"], sections["counts"])
    found = cut_examples(options, overlong, segments, judge)
    return Examples(
        cache=cache,
        record=places[:, 0].copy(),
        line=places[:, 1].copy(),
        tokens_in=found.tokens_in.astype(np.int32),
        trained_in=found.trained_in.astype(np.int32),
        tokens=found.tokens.astype(np.int32),
        trained=found.trained.astype(np.int32),
        segments=segments.counts,
        hash=sections["hash"],
        fate=found.fate,
    )


def _dropped(before: list[int]) -> Note:
    size = sum(before)
    what = f"{size:,} tokens are more than cutoff_len allows; the example is left out"
    return Note("length.dropped", "", what, str(size))


def _cut_notes(
    options: CutOptions, overlong: str, before: list[int], after: list[int], trained: list[int], trained_after: int
) -> list[Note]:
    """What the cut did to one example, in words. before, after, trained: one item a segment."""
    limit = options.limit_tokens
    whole = sum(before)
    reserved = options.reserved_tokens
    if trained_after <= reserved and options.kind == "lm":
        cause = "every turn is masked" if before == after else f"the cut at {limit} tokens left none"
        if before == after and not any(length and flag for length, flag in zip(before, trained, strict=True)):
            cause = "no turn carries a loss"
        return [Note("length.no-trained-token", "", f"no trained token is left: {cause}", str(whole))]
    if options.kind in ("pref", "unpaired") and 0 in after[1:]:
        return [Note("length.no-trained-token", "", f"an answer is empty after the cut at {limit} tokens", str(whole))]
    if overlong == "error" and whole + reserved > limit and (options.kind != "prompt" or before != after):
        return [
            Note(
                "length.over-cutoff",
                "",
                f"{whole + reserved} tokens are more than cutoff_len allows ({limit})",
                str(whole),
            )
        ]
    if before == after:
        return []
    notes = []
    if options.kind == "lm":
        lost_turns = sum(1 for was, now in zip(before[1::2], after[1::2], strict=True) if was and not now)
        cut_answers = sum(1 for was, now in zip(before[1::2], after[1::2], strict=True) if 0 < now < was)
        cut_prompts = sum(1 for was, now in zip(before[::2], after[::2], strict=True) if 0 < now < was)
    else:
        lost_turns = 0
        cut_answers = sum(1 for was, now in zip(before[1:], after[1:], strict=True) if now < was)
        cut_prompts = int(after[0] < before[0])
    size = f"{whole} tokens, {sum(after)} kept"
    if cut_answers:
        notes.append(Note("length.answer-cut", "", f"an answer is cut at {limit} tokens and has lost its end", size))
    if cut_prompts and options.kind == "prompt":
        gone = f"the middle of a prompt is cut to {limit} tokens; its end, with the mark of the answer, is kept"
        notes.append(Note("length.prompt-cut", "", gone, size))
    elif cut_prompts:
        notes.append(Note("length.prompt-cut", "", f"a prompt is cut at {limit} tokens; its last words are gone", size))
    if lost_turns:
        notes.append(Note("length.turns-lost", "", f"{lost_turns} answer(s) lie past the cut at {limit} tokens", size))
    return notes
