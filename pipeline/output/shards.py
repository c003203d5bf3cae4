"""Shards: the one reader of an output folder: split, row -> ids, labels, lengths, and where each example came from.

    OUT/manifest.json ── names ──> train/data-00000-of-00004.arrow       mapped; a row costs what it holds
                                   lineage/train-00000-of-00004.arrow    read shard by shard; a few stay in memory

A row number counts through a split's shards in the manifest's order, from 0. Nothing here looks at a tokenizer.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from registry.errors import UsageFault, did_you_mean
from registry.kinds import ROW_KINDS, STAGES
from stages.writers.excluded import EXCLUDED
from stages.writers.excluded import NAME as EXCLUDED_NAME
from stages.writers.lineage import LINEAGE

from .arrow_files import ArrowFiles
from .lineage_columns import Lineage, Part, numbers, part_of, plain, read_lineage
from .manifest import listed_files

OPEN_SHARDS = 8
IGNORE = -100


class Row(NamedTuple):
    """One training row. ids and labels ([tokens]): the columns end to end; labels are -100 where no loss is taken.

    columns: name -> tokens of each id column, in order ("input_ids" alone for lm). label: KTO's. seq_lengths: of a
    packed row.
    """

    split: str
    number: int
    shard: str
    row_in_shard: int
    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    columns: dict[str, int]
    label: bool | None
    seq_lengths: list[int] | None
    parts: list[Part]

    @property
    def trained(self) -> int:
        """Tokens that carry a loss."""
        return int(np.count_nonzero(self.labels != IGNORE))


class Segment(NamedTuple):
    """A stretch of an example: which turn, prompt or answer (or the name of its column), and its range in the row."""

    turn: int
    name: str
    start: int
    end: int


class Shards:
    """An opened output. `manifest` is its manifest.json, already read and checked for its version."""

    def __init__(self, out: str | os.PathLike[str], manifest: Mapping[str, Any]) -> None:
        self.out = Path(out)
        self.manifest = manifest
        self.stage = str(manifest.get("stage", ""))
        self.kind = STAGES[self.stage].rows
        self._files = ArrowFiles(self.out, listed_files(dict(manifest)))
        self._tables: OrderedDict[str, tuple[list[pa.RecordBatch], list[int]]] = OrderedDict()
        self._lineages: OrderedDict[str, Lineage] = OrderedDict()

    # --- places -------------------------------------------------------------------------------------------------------

    @property
    def splits(self) -> list[str]:
        """Names of the splits, `train` first."""
        return sorted(self.manifest["splits"], key=lambda name: (name != "train", name))

    def shards(self, split: str) -> list[dict[str, Any]]:
        """The manifest's entries of a split's shards. Raises UsageFault for a split that is not there."""
        known = self.manifest["splits"]
        if split not in known:
            raise UsageFault(
                f"{self.out}: there is no split {split!r}{did_you_mean(split, known)}",
                hint=f"it holds {', '.join(self.splits)}",
            )
        return list(known[split]["shards"])

    def rows(self, split: str) -> int:
        """How many rows a split has."""
        return sum(int(shard["rows"]) for shard in self.shards(split))

    def place(self, split: str, number: int) -> tuple[int, int]:
        """Index of the shard that holds a row, and the row's number in it. Raises UsageFault when there is no such."""
        first = 0
        for index, shard in enumerate(self.shards(split)):
            if 0 <= number - first < shard["rows"]:
                return index, number - first
            first += shard["rows"]
        raise UsageFault(f"{self.out}: {split} has no row {number}; its rows are 0 to {first - 1}")

    def input_path(self, source: int) -> str:
        """Path of an input file, as it was given."""
        inputs = self.manifest["inputs"]
        return str(inputs[source]["path"]) if 0 <= source < len(inputs) else f"input {source}"

    # --- rows ---------------------------------------------------------------------------------------------------------

    def row(self, split: str, number: int) -> Row:
        """One row. Raises UsageFault when there is none, DataFault when a file is missing or damaged."""
        index, within = self.place(split, number)
        shard = self.shards(split)[index]
        batches, firsts = self._batches(shard["file"])
        at = bisect_right(firsts, within) - 1
        if at < 0 or within - firsts[at] >= batches[at].num_rows:
            raise self._files.damaged(shard["file"], "it ends early")
        batch, position = batches[at], within - firsts[at]
        names = ROW_KINDS[self.kind].id_columns
        columns = [_values(batch.column(name), position) for name in names]
        ids = np.concatenate(columns) if len(columns) > 1 else columns[0]
        if ROW_KINDS[self.kind].sequence:
            labels = _values(batch.column("labels"), position)
        else:
            labels = ids.copy()
            labels[: len(columns[0])] = IGNORE
        has_lengths = "seq_lengths" in batch.schema.names
        return Row(
            split=split,
            number=number,
            shard=str(shard["file"]),
            row_in_shard=within,
            ids=ids,
            labels=labels,
            columns={name: len(values) for name, values in zip(names, columns, strict=True)},
            label=bool(batch.column("label")[position].as_py()) if self.kind == "unpaired" else None,
            seq_lengths=_values(batch.column("seq_lengths"), position).tolist() if has_lengths else None,
            parts=self._parts(split, index, within, len(ids)),
        )

    def _parts(self, split: str, index: int, within: int, tokens: int) -> list[Part]:
        lineage = self.lineage(split, index)
        first, last = np.searchsorted(lineage.row, [within, within + 1]).tolist()
        found = [part_of(lineage, at, at - first) for at in range(first, last)]
        if sum(part.tokens for part in found) != tokens:
            raise self._files.damaged(self.shards(split)[index]["lineage"]["file"], "it does not fit its shard")
        return found

    def lineage(self, split: str, index: int) -> Lineage:
        """The lineage of a shard, by the shard's index in its split."""
        name = str(self.shards(split)[index]["lineage"]["file"])
        if name not in self._lineages:
            lineage = read_lineage(self._files.table(name, LINEAGE), self.kind)
            self._check_places(name, int(self.shards(split)[index]["rows"]), lineage.row, lineage.source)
            self._lineages[name] = lineage
            if len(self._lineages) > OPEN_SHARDS:
                self._lineages.popitem(last=False)
        return self._lineages[name]

    def places(self, split: str, index: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Only row, source and line of a shard's examples (each int32, [examples]): a fraction of its lineage is
        decompressed."""
        name = str(self.shards(split)[index]["lineage"]["file"])
        table = self._files.table(name, LINEAGE, ["row", "source", "line"])
        rows, sources = numbers(table, "row"), numbers(table, "source")
        self._check_places(name, int(self.shards(split)[index]["rows"]), rows, sources)
        return rows, sources, numbers(table, "line")

    def _check_places(self, name: str, count: int, rows: NDArray[np.int32], sources: NDArray[np.int32]) -> None:
        """Raises DataFault when a lineage names rows that its shard, or inputs that the manifest has not got."""
        for values, most in ((rows, count), (sources, len(self.manifest["inputs"]))):
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < most:
                raise self._files.damaged(name, "it does not fit its manifest")

    def excluded(self) -> pa.Table | None:
        """What was tokenized and stands in no row (stages.writers.excluded), None when there is nothing of the kind."""
        if any(entry["file"] == EXCLUDED_NAME for entry in self.manifest.get("files", ())):
            table = self._files.table(EXCLUDED_NAME, EXCLUDED)
            self._check_places(EXCLUDED_NAME, 0, np.empty(0, dtype=np.int32), numbers(table, "source"))
            return table
        return None

    def plain_file(self, name: str) -> Path:
        """A small file that the manifest lists. Raises DataFault when it is missing or not as it was written."""
        return self._files.unchanged(name)

    def segments(self, row: Row, part: Part) -> list[Segment]:
        """The stretches of an example in its row's ids, without empty ones; an appended EOS belongs to the last."""
        found, at = [], part.start
        kind = ROW_KINDS[self.kind]
        for index, tokens in enumerate(part.after):
            if tokens:
                turn = index // 2 if kind.sequence else 0
                found.append(Segment(turn, kind.segments[index % len(kind.segments)], at, at + tokens))
            at += tokens
        end = part.start + part.tokens
        if found and at < end:
            found[-1] = found[-1]._replace(end=end)
        return found

    # --- files --------------------------------------------------------------------------------------------------------

    def _batches(self, name: str) -> tuple[list[pa.RecordBatch], list[int]]:
        if name not in self._tables:
            batches = self._files.batches(name, ROW_KINDS[self.kind], packed=bool(self.manifest["packed"]))
            firsts = np.cumsum([0, *(batch.num_rows for batch in batches)])[:-1].tolist()
            self._tables[name] = batches, firsts
            if len(self._tables) > OPEN_SHARDS:
                self._tables.popitem(last=False)
        return self._tables[name]


def _values(column: pa.Array, position: int) -> NDArray[np.int32]:
    return plain(column[position].values)


def each_lineage(shards: Shards, split: str) -> Iterator[tuple[int, Lineage]]:
    """Every shard's lineage of a split with the number of the shard's first row."""
    first = 0
    for index, shard in enumerate(shards.shards(split)):
        yield first, shards.lineage(split, index)
        first += int(shard["rows"])
