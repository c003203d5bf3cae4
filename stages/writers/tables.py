"""Rows into columns: CSV and Parquet out.

Rows are kept aside in an unnamed temporary file, since the columns are only known behind the last row, and written in a
second pass. Types are taken from the values, never guessed from text:

    texts, integers, floats, truth values    a column of that type
    lists and objects                        nested columns; a missing key of a message becomes null
    anything mixed, or a number too wide     its JSON text

What the same rows are when prep reads the file is known while it is written: a cell or column of JSON text whose value
our readers give back (in CSV by the map, in Parquet by a mark on the column) is "as JSON text" in `changed`; everything
else there is what does not come back as it was.

Objects inside of objects whose keys differ from row to row (the parameters of tools) make their whole column JSON text:
as a nested column every row would get the keys of all the others, as null.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

import orjson

from registry.datasets.types import Fields
from stages.parse.exact_numbers import load_exact, number_text
from stages.readers.cell_values import JSON_COLUMN, spelled

BLOCK_BYTES = 8 << 20  # rows held at once; also a Parquet row group
_SAFE_INT = 2**53  # up to here a float holds every integer

# "bool" | "int" | "wide" | "float" | "text" | "json" | ("list", Type) | ("struct", {key: Type}, keys differ) | None
Type = Any
AS_JSON = "as JSON text"  # other tools see a text, our readers the value
Changed = dict[str, dict[str, int]]


@contextlib.contextmanager
def open_table(out: Any, ending: str, folder: str, fields: Fields | None = None) -> Iterator[_Table]:
    """A sink of rows for a .csv or .parquet file.

    Args:
        out: Takes the file's bytes.
        ending: ".csv" or ".parquet".
        folder: A folder on the output's disk, for the rows that are kept aside until all columns are known.
        fields: The map under which the rows will be read.
    """
    with tempfile.TemporaryFile(dir=folder) as aside:
        yield _Csv(out, aside, fields or Fields()) if ending == ".csv" else _Parquet(out, aside)


class _Table:
    def __init__(self, out: Any, aside: IO[bytes]) -> None:
        self.changed: Changed = {}
        self.out = out
        self._aside = aside
        self.rows = 0
        self.types: dict[str, Type] = {}
        self.seen: Counter[str] = Counter()

    def add(self, lines: bytes, rows: int) -> None:
        """Takes rows, and learns their columns."""
        if not rows:
            return
        self.rows += rows
        self._aside.write(lines + b"\n")
        for line in lines.split(b"\n"):
            row = load_exact(line, orjson.loads(line))
            self.seen.update(row.keys())
            for key, value in row.items():
                self.types[key] = merged(self.types.get(key), type_of(value))

    def count(self, column: str, what: str, rows: int = 1) -> None:
        """Notes that a column is not what it was."""
        if rows:
            counts = self.changed.setdefault(column, {})
            counts[what] = counts.get(what, 0) + rows

    def blocks(self) -> Iterator[list[dict[str, Any]]]:
        """The rows again, a block at a time."""
        self._aside.seek(0)
        block: list[dict[str, Any]] = []
        size = 0
        for line in self._aside:
            block.append(load_exact(line, orjson.loads(line)))
            size += len(line)
            if size >= BLOCK_BYTES:
                yield block
                block, size = [], 0
        if block:
            yield block

    def finish(self) -> None:
        """Writes the file."""
        raise NotImplementedError


# --- CSV -------------------------------------------------------------------------------------------------------------


class _Csv(_Table):
    """RFC 4180 with line feeds. A missing value and null are an empty cell, an empty text is a pair of quotes, and what
    is no text its JSON text."""

    def __init__(self, out: Any, aside: IO[bytes], fields: Fields) -> None:
        super().__init__(out, aside)
        self._spelled = spelled(fields)

    def finish(self) -> None:
        names = list(self.types)
        if names:
            self.out.write((",".join(cell(name, len(names)) for name in names) + "\n").encode())
        for block in self.blocks():
            lines = [",".join(cell(self._text(name, row.get(name)), len(names)) for name in names) for row in block]
            self.out.write(("\n".join(lines) + "\n").encode())
        for name in names:
            self.count(name, "missing to null", self.rows - self.seen[name])

    def _text(self, name: str, value: Any) -> str | None:
        """The text of one cell; what our own reader would not give back is counted."""
        read = self._spelled.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            if read is not None and read(value) is not value:
                self.count(name, "text to what it spells")
            return value
        data = orjson.dumps(value)
        text = data.decode()
        if read is None or orjson.dumps(read(text)) != data:
            self.count(name, "to JSON text")
        elif not isinstance(value, bool):
            self.count(name, AS_JSON)
        return text


def cell(text: str | None, columns: int) -> str:
    """One cell, quoted where it must be; None is an empty one."""
    # an empty cell that is the whole row would read as no row
    if text is None:
        return '""' if columns == 1 else ""
    bare = text and text[0] not in "\ufeff" and not text[0].isspace() and not text[-1].isspace()
    if bare and not any(char in text for char in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


# --- Parquet ---------------------------------------------------------------------------------------------------------


class _Parquet(_Table):
    """Zstandard-compressed Parquet, a row group a block. A column of JSON text is marked, so that our reader gives the
    values back; to other readers it is text."""

    def finish(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {name: "json" if differs(kind) else settled(kind) for name, kind in self.types.items()}
        fields = [
            pa.field(name, _arrow(kind), metadata=JSON_COLUMN if kind == "json" else None)
            for name, kind in kinds.items()
        ]
        schema = pa.schema(fields)
        with pq.ParquetWriter(self.out, schema, compression="zstd", write_page_checksum=True) as writer:
            for block in self.blocks():
                arrays = [
                    pa.array([self._fit(row.get(name), kind, name) for row in block], type=_arrow(kind))
                    for name, kind in kinds.items()
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        for name in kinds:
            self.count(name, "missing to null", self.rows - self.seen[name])

    def _fit(self, value: Any, kind: Type, column: str) -> Any:
        """A value as pyarrow takes it for a type: JSON text for what has no type, objects with the keys of all rows."""
        if value is None:
            return None
        if kind == "json":
            self.count(column, AS_JSON)
            return number_text(value) if isinstance(value, orjson.Fragment) else orjson.dumps(value).decode()
        if isinstance(kind, tuple):
            if kind[0] == "list":
                return [self._fit(item, kind[1], column) for item in value]
            if value.keys() != kind[1].keys():
                self.count(column, "missing keys to null")
            return {key: self._fit(value.get(key), inner, column) for key, inner in kind[1].items()}
        return value


def _arrow(kind: Type) -> Any:
    import pyarrow as pa

    if isinstance(kind, tuple):
        if kind[0] == "list":
            return pa.list_(_arrow(kind[1]))
        return pa.struct([pa.field(key, _arrow(inner)) for key, inner in kind[1].items()])
    return {"bool": pa.bool_(), "int": pa.int64(), "wide": pa.int64(), "float": pa.float64()}.get(kind, pa.string())


def type_of(value: Any) -> Type:
    """The type of one JSON value; None for null."""
    if value is None:
        return None
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if abs(value) <= _SAFE_INT else "wide" if abs(value) < 2**63 else "json"
    if isinstance(value, float):
        return "float"
    if isinstance(value, list):
        inner: Type = None
        for item in value:
            inner = merged(inner, type_of(item))
        return ("list", inner)
    if isinstance(value, dict):
        return ("struct", {key: type_of(item) for key, item in value.items()}, False)
    return "json"


def merged(first: Type, second: Type) -> Type:
    """The type that holds values of both."""
    if first == second or second is None:
        return first
    if first is None:
        return second
    if isinstance(first, tuple) and isinstance(second, tuple) and first[0] == second[0]:
        if first[0] == "list":
            return ("list", merged(first[1], second[1]))
        keys = dict.fromkeys([*first[1], *second[1]])
        differ = first[2] or second[2] or first[1].keys() != second[1].keys()
        return ("struct", {key: merged(first[1].get(key), second[1].get(key)) for key in keys}, differ)
    pair = {str(first), str(second)}
    if pair == {"int", "wide"}:
        return "wide"
    return "float" if pair == {"int", "float"} else "json"


def differs(kind: Type, inside: bool = False) -> bool:
    """Whether an object inside of another one has keys that differ from row to row."""
    if not isinstance(kind, tuple):
        return False
    if kind[0] == "list":
        return differs(kind[1], inside)
    return (inside and kind[2]) or any(differs(inner, True) for inner in kind[1].values())


def settled(kind: Type) -> Type:
    """The type once all rows are known: an object that never has a key, and what was always null, become text."""
    if kind is None:
        return "text"
    if isinstance(kind, tuple) and kind[0] == "list":
        return ("list", settled(kind[1]))
    if isinstance(kind, tuple):
        return ("struct", {key: settled(inner) for key, inner in kind[1].items()}, kind[2]) if kind[1] else "json"
    return kind
