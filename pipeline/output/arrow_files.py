"""Arrow files of an output, read so that damage is an error that names the file, never other numbers or a crash.

Shards are mapped, and their size and structure are checked; the small files beside them are hashed as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from registry.errors import DataFault, Fault, unreadable
from registry.kinds import RowKind
from stages.core.plain_file import kind_of

from .manifest import lies_outside
from .verify import file_sha256

_INTS = pa.list_(pa.int32())


class ArrowFiles:
    """The Arrow files of an output. listed: what the manifest says of each file, by name."""

    def __init__(self, out: Path, listed: Mapping[str, Mapping[str, Any]]) -> None:
        self.out = out
        self._listed = listed
        self._hashed: set[str] = set()

    def batches(self, name: str, kind: RowKind, *, packed: bool) -> list[pa.RecordBatch]:
        """The rows of a shard, mapped. Raises DataFault when it is missing or damaged, MachineFault."""
        path = self._checked(name)
        try:
            with pa.memory_map(os.fspath(path)) as source, pa.ipc.open_stream(source) as stream:
                batches = list(stream)
                self._check_columns(name, stream.schema, kind, packed=packed)
            for batch in batches:
                batch.validate(full=True)  # of lists that is the borders only, and none then leads out of the file
        except (pa.ArrowException, OSError, UnicodeError) as error:  # the names of columns are text
            raise self._unreadable(name, error) from error
        rows = sum(batch.num_rows for batch in batches)
        if rows != self._listed[name]["rows"]:
            raise self.damaged(name, f"{rows} rows instead of {self._listed[name]['rows']}")
        if any(column.null_count for batch in batches for column in batch.columns):
            raise self.damaged(name, "it has empty rows")
        return batches

    def table(self, name: str, schema: pa.Schema, columns: Sequence[str] = ()) -> pa.Table:
        """A lineage file, or some columns of it, in one chunk. Raises DataFault when it is missing or damaged."""
        path = self.unchanged(name)
        try:
            with pa.memory_map(os.fspath(path)) as source:
                held = pa.ipc.open_file(source).schema
                if not held.equals(schema):
                    raise self.damaged(name, "it has other columns than such a file has")
                wanted = [held.get_field_index(column) for column in columns]
                options = pa.ipc.IpcReadOptions(included_fields=wanted or None)
                table = pa.ipc.open_file(source, options=options).read_all()
            table.validate(full=True)
            return table.combine_chunks()
        except (pa.ArrowException, OSError, UnicodeError) as error:  # the names of columns are text
            raise self._unreadable(name, error) from error

    def unchanged(self, name: str) -> Path:
        """A small file, hashed the first time. Raises DataFault when it is missing or damaged, MachineFault."""
        path = self._checked(name)
        if name not in self._hashed:
            if file_sha256(path) != self._listed[name]["sha256"]:
                raise self.damaged(name, "its content has changed")
            self._hashed.add(name)
        return path

    def damaged(self, name: str, what: str) -> DataFault:
        """The error for a file that is not as it was written."""
        return DataFault(
            f"{self.out}/{name}: {what}",
            hint=f"`prep verify {self.out}` lists every damaged file; `prep pack` makes it again",
        )

    def _checked(self, name: str) -> Path:
        """The path of a file that is there, with the size that it should have."""
        if lies_outside(name):
            raise DataFault(f"{self.out}/manifest.json: {name} lies outside the output", hint="run `prep pack` again")
        if name not in self._listed:
            raise self.damaged(name, "is not in the manifest")
        path, size = self.out / name, self._listed[name]["bytes"]
        try:
            held = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise self.damaged(name, "it is missing") from None
        except OSError as error:
            raise unreadable(error, path) from error
        if kind := kind_of(held.st_mode):
            raise self.damaged(name, f"is {kind}, not a file")
        if held.st_size != size:
            raise self.damaged(name, f"{held.st_size} bytes instead of {size}")
        return path

    def _check_columns(self, name: str, schema: pa.Schema, kind: RowKind, *, packed: bool) -> None:
        wanted = {column: pa.bool_() if column == "label" else _INTS for column in kind.columns}
        if packed:
            wanted["seq_lengths"] = _INTS
        held = {field.name: field.type for field in schema}
        wrong = [column for column, type_ in wanted.items() if held.get(column) != type_]
        if wrong:
            raise self.damaged(name, f"it has no column {', '.join(wrong)} as such a shard has")

    def _unreadable(self, name: str, error: Exception) -> Fault:
        if isinstance(error, OSError) and error.errno:  # the disk's: what Arrow raises of its own has no number
            return unreadable(error, self.out / name)
        return self.damaged(name, (str(error).splitlines() or [type(error).__name__])[0])
