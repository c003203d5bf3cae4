"""Shard lineage: where each example of a shard came from, from the columns of its lineage file as numpy arrays.

A null of a column means the usual value: nothing cut, the usual segments trained.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.writers.lineage import usual_mask


class Lists(NamedTuple):
    """Lists end to end: values ([items]), and their borders (int64, [lists + 1])."""

    values: NDArray[Any]
    borders: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int32]:
        """Items of each list (int32, [lists])."""
        return np.diff(self.borders).astype(np.int32)

    def at(self, index: int) -> list[int]:
        """One list."""
        return list(self.values[self.borders[index] : self.borders[index + 1]].tolist())


class Lineage(NamedTuple):
    """One shard's lineage, one item an example (a part of a document, in stage pt), in row order.

    Arrays are [examples]. row: within the shard. start, tokens: its range in the row. source: index into the manifest's
    `inputs`. line (1-based), record, offset (bytes): its place in that file. before, after: tokens of each segment
    before and after the cut (the appended EOS of some templates not counted). trained: 1 for each segment that carries
    a loss. cut: whether the cut took anything.
    """

    row: NDArray[np.int32]
    start: NDArray[np.int32]
    tokens: NDArray[np.int32]
    source: NDArray[np.int32]
    line: NDArray[np.int32]
    record: NDArray[np.int32]
    offset: NDArray[np.int32]
    before: Lists
    after: Lists
    trained: Lists
    cut: NDArray[np.bool_]


class Part(NamedTuple):
    """One example of a row: `Lineage` for it alone. number: its place in the row."""

    number: int
    start: int
    tokens: int
    source: int
    line: int
    record: int
    offset: int
    before: list[int]
    after: list[int]
    trained: list[int]

    @property
    def lost(self) -> int:
        """Tokens that the cut took."""
        return sum(self.before) - sum(self.after)


def part_of(lineage: Lineage, at: int, number: int = 0) -> Part:
    """One example of a lineage.

    Args:
        lineage: Of a shard.
        at: Index of the example in it.
        number: Its place in its row.
    """
    return Part(
        number=number,
        start=int(lineage.start[at]),
        tokens=int(lineage.tokens[at]),
        source=int(lineage.source[at]),
        line=int(lineage.line[at]),
        record=int(lineage.record[at]),
        offset=int(lineage.offset[at]),
        before=lineage.before.at(at),
        after=lineage.after.at(at),
        trained=lineage.trained.at(at),
    )


def plain(array: pa.Array) -> NDArray[Any]:
    """The numbers of an Arrow array without nulls ([n], of the array's type), not copied. pyarrow's own conversion
    would import pandas."""
    kind = np.dtype(str(array.type))
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.empty(0, dtype=kind)
    return np.frombuffer(buffer, dtype=kind, count=len(array), offset=array.offset * kind.itemsize)


def _there(array: pa.Array) -> NDArray[np.bool_]:
    """Which items of an Arrow array are not null."""
    bits = array.buffers()[0]
    if bits is None:
        return np.ones(len(array), dtype=np.bool_)
    unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
    return unpacked[array.offset : array.offset + len(array)].astype(np.bool_)


def numbers(table: pa.Table, name: str) -> NDArray[np.int32]:
    """A column of whole numbers (int32, [rows of the table])."""
    return plain(table.column(name).chunk(0)).astype(np.int32) if len(table) else np.empty(0, dtype=np.int32)


def lists(table: pa.Table, name: str) -> Lists:
    """A list column; a null is an empty list."""
    column = table.column(name)
    if not len(table):
        return Lists(np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64))
    array = column.chunk(0)
    lengths = np.where(_there(array), np.diff(plain(array.offsets)), 0)
    return Lists(plain(array.flatten()), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def filled(table: pa.Table, name: str, usual: NDArray[Any], like: Lists) -> tuple[Lists, NDArray[np.bool_]]:
    """A list column whose nulls stand for a usual value.

    Args:
        table: A lineage file's.
        name: Of the column.
        usual: The usual values, end to end in the shape of `like` ([items]).
        like: Lists of the same lengths.

    Returns:
        The lists, and where the column is not null (bool, [lists]).
    """
    given = lists(table, name)
    there = _there(table.column(name).chunk(0)) if len(table) else np.empty(0, dtype=np.bool_)
    values = usual.copy()
    values[np.repeat(there, like.counts)] = given.values
    return Lists(values, like.borders), there


def read_lineage(table: pa.Table, kind: str) -> Lineage:
    """The lineage that a table of `stages.writers.shard` holds. kind: of the output's examples."""
    before = lists(table, "before")
    after, cut = filled(table, "after", before.values, before)
    trained, _ = filled(table, "trained", usual_mask(before.counts, kind), before)
    columns = {name: numbers(table, name) for name in ("row", "start", "tokens", "source", "line", "record", "offset")}
    return Lineage(before=before, after=after, trained=trained, cut=cut, **columns)
