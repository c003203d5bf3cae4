"""View: a stored row as examples, stretches of one mask, and tokens with their text; what `inspect` and `report` show.

    row       [ example 0            ][ example 1      ]
    stretch   [ prompt 0 ][ answer 0 ][ prompt ][answer]     a stretch ends where the segment or the mask changes
    token     [T][T][T].. text, id, label (-100: no loss), whether it is an end mark

Everything comes from the shard; only the texts are looked up in the tokenizer. Texts are untrusted and not yet cleaned.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from pipeline.output.lineage_columns import Part
from pipeline.output.shards import IGNORE, Row, Shards
from registry.errors import UsageFault
from registry.templates import load_template
from stages.tokenize.decode import TokenTexts

from .trace import part_as_dict


class Stretch(NamedTuple):
    """Tokens of one segment with one mask. turn: counts from 0. start: of its first token in the row. texts, ids,
    labels: one each a token."""

    turn: int
    segment: str
    trained: bool
    start: int
    texts: list[str]
    ids: list[int]
    labels: list[int]


class Example(NamedTuple):
    """One example of a row. about: its place and figures (pipeline.inspect.trace.part_as_dict)."""

    about: dict[str, Any]
    stretches: list[Stretch]


class View(NamedTuple):
    """A row. of: examples that it has; `examples` may be fewer. label: KTO's. stops: ids that end an answer."""

    split: str
    row: int
    shard: str
    row_in_shard: int
    tokens: int
    trained_tokens: int
    of: int
    label: bool | None
    examples: list[Example]
    stops: frozenset[int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        shown = {name: getattr(self, name) for name in self._fields if name not in ("examples", "stops", "of")}
        examples = [
            example.about | {"stretches": [stretch._asdict() for stretch in example.stretches]}
            for example in self.examples
        ]
        return shown | {"examples_in_row": self.of, "examples": examples}


class Viewer:
    """Turns rows of one output into views."""

    def __init__(self, shards: Shards, texts: TokenTexts) -> None:
        self.shards = shards
        self.texts = texts
        self.stops = frozenset(_stop_ids(shards, texts))

    def view(self, split: str, number: int, only: Container[int] | None = None) -> View:
        """A row, or some of its examples.

        Args:
            split: Name of the split.
            number: Of the row in the split, from 0.
            only: Places of the examples that are wanted, from 0; None for all.

        Raises:
            UsageFault: When there is no such row.
        """
        row = self.shards.row(split, number)
        parts = [part for part in row.parts if only is None or part.number in only]
        return View(
            split=split,
            row=number,
            shard=row.shard,
            row_in_shard=row.row_in_shard,
            tokens=len(row.ids),
            trained_tokens=row.trained,
            of=len(row.parts),
            label=row.label,
            examples=[Example(part_as_dict(self.shards, row, part), self._stretches(row, part)) for part in parts],
            stops=self.stops,
        )

    def _stretches(self, row: Row, part: Part) -> list[Stretch]:
        found = []
        for segment in self.shards.segments(row, part):
            ids, labels = row.ids[segment.start : segment.end], row.labels[segment.start : segment.end]
            texts = self.texts.pieces(ids.tolist())
            trained = labels != IGNORE
            borders = [0, *(np.flatnonzero(trained[1:] != trained[:-1]) + 1).tolist(), len(ids)]
            for first, end in pairwise(borders):
                found.append(
                    Stretch(
                        turn=segment.turn,
                        segment=segment.name,
                        trained=bool(trained[first]),
                        start=segment.start + first,
                        texts=texts[first:end],
                        ids=ids[first:end].tolist(),
                        labels=labels[first:end].tolist(),
                    )
                )
        return found


def _stop_ids(shards: Shards, texts: TokenTexts) -> set[int]:
    """The end of sequence, and whatever else the template names as an end of an answer."""
    manifest = shards.manifest
    found = {int(manifest["tokenizer"]["eos_id"])} if manifest["tokenizer"].get("eos_id") is not None else set()
    name = str(manifest["template"]["name"])
    try:
        words = load_template(name, str(manifest["compat"])).stop_words if name != "auto" else ()
    except UsageFault:  # made by a prep that knew other templates
        words = ()
    return found | {number for word in words if (number := texts.id_of(word)) is not None}
