"""Lengths: `cutoff_len` applied to a chunk's examples, and what becomes of each.

The ids stay as they were tokenized; only lengths are cut here, so that another cutoff needs no tokenizer. An example is
kept, left out for its length (`overlong: drop`), or rejected because the cut left it nothing to train on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .assemble import cut, example_tokens, trained_tokens
from .batch import Tally
from .findings import Note
from .read import Chunk, Record

if TYPE_CHECKING:
    from .encoding import EncodeSpec


class Examples(NamedTuple):
    """Lengths of a chunk's kept records, one item each, in input order.

    record: index in the file (int64). tokens_in, trained_in: before the cut; tokens, trained: after it (int32). halves:
    how many halves (int32). hash: 64-bit content hash (uint64). fate: 0 kept, 1 rejected by the cut, 2 dropped for its
    length (uint8). spool: the file that holds the ids.
    """

    spool: str
    record: NDArray[np.int64]
    line: NDArray[np.int64]
    tokens_in: NDArray[np.int32]
    trained_in: NDArray[np.int32]
    tokens: NDArray[np.int32]
    trained: NDArray[np.int32]
    halves: NDArray[np.int32]
    hash: NDArray[np.uint64]
    fate: NDArray[np.uint8]


KEPT, REJECTED, DROPPED = 0, 1, 2


def cut_examples(
    spec: EncodeSpec, tally: Tally, chunk: Chunk, sections: Mapping[str, NDArray[Any]], spool: str
) -> Examples:
    """Applies the cut to the lengths of a chunk's examples; what it costs is judged and counted in `tally`.

    sections: halves, trained, counts, places and hash, as the spool file holds them. spool: its path.
    """
    options = spec.cut
    halves, trained, counts = sections["halves"], sections["trained"], sections["counts"]
    places = sections["places"].reshape(-1, 4)
    kept, changed = cut(halves, counts, options)
    tokens_in = example_tokens(halves, counts, options)
    trained_in = trained_tokens(halves, trained, counts, options)
    tokens = example_tokens(kept, counts, options)
    trained_after = trained_tokens(kept, trained, counts, options)
    fate = np.zeros(len(counts), dtype=np.uint8)
    too_long = tokens_in > options.limit_tokens
    if spec.overlong == "drop":
        fate[too_long] = DROPPED
    borders = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=borders[1:])
    look = changed | too_long if options.kind != "prompt" else changed
    if options.kind in ("lm", "pref", "unpaired"):
        look |= trained_after == (options.reserved_tokens if options.kind == "lm" else 0)
    start = chunk.start
    data = chunk.data or b""
    for example in np.nonzero(look)[0].tolist():
        first, last = int(borders[example]), int(borders[example + 1])
        before, after = halves[first:last].tolist(), kept[first:last].tolist()
        if fate[example] == DROPPED:
            record, line, offset, size = places[example].tolist()
            what = f"{sum(before):,} tokens are more than cutoff_len allows; the example is left out"
            note = Note("length.dropped", "", what, str(sum(before)))
            if tally.judge(Record(data[offset - start : offset - start + size], line, record, offset), [note]):
                fate[example] = REJECTED
            continue
        notes = list(cut_notes(spec, before, after, trained[first:last].tolist(), int(trained_after[example])))
        if not notes:
            continue
        record, line, offset, size = places[example].tolist()
        raw = data[offset - start : offset - start + size]
        if spec.overlong == "split" and np.count_nonzero(places[:, 0] == record) > 1:
            # a piece of a conversation that goes on elsewhere: it is left out, the record is not rejected
            if notes[0].rule == "length.no-trained-token":
                fate[example] = DROPPED
            continue
        if tally.judge(Record(raw, line, record, offset), notes):
            fate[example] = REJECTED
    return Examples(
        spool=spool,
        record=places[:, 0].copy(),
        line=places[:, 1].copy(),
        tokens_in=tokens_in.astype(np.int32),
        trained_in=trained_in.astype(np.int32),
        tokens=tokens.astype(np.int32),
        trained=trained_after.astype(np.int32),
        halves=counts,
        hash=sections["hash"],
        fate=fate,
    )


def cut_notes(
    spec: EncodeSpec, before: list[int], after: list[int], trained: list[int], trained_after: int
) -> list[Note]:
    """What the cut did to one example, in words."""
    limit = spec.cut.limit_tokens
    whole = sum(before)
    reserved = spec.cut.reserved_tokens
    if trained_after <= reserved and spec.cut.kind == "lm":
        cause = "every turn is masked" if before == after else f"the cut at {limit} tokens left none"
        if before == after and not any(length and flag for length, flag in zip(before, trained, strict=True)):
            cause = "no turn carries a loss"
        return [Note("length.no-trained-token", "", f"no trained token is left: {cause}", str(whole))]
    if spec.cut.kind in ("pref", "unpaired") and 0 in after[1:]:
        return [Note("length.no-trained-token", "", f"an answer is empty after the cut at {limit} tokens", str(whole))]
    if spec.overlong == "error" and whole + reserved > limit:
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
    if spec.cut.kind == "lm":
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
    if cut_prompts:
        notes.append(Note("length.prompt-cut", "", f"a prompt is cut at {limit} tokens; its last words are gone", size))
    if lost_turns:
        notes.append(Note("length.turns-lost", "", f"{lost_turns} answer(s) lie past the cut at {limit} tokens", size))
    return notes
