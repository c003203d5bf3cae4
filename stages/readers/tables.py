"""Parquet and Arrow: rows through bounded, fully validated batches, rendered to JSON lines.

Nested values are kept. Dates, times and decimals become text as Arrow writes them; NaN and infinity become null, for
which JSON has no word. Columns of raw bytes (images, audio) are left out and named. Extension types of others are
refused: what such a type means is in code that is not ours to run.

Arrow has no checksums: `validate(full=True)` keeps damage from crashing the process, not from changing text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pyarrow as pa

from stages.core.display import clean, shown
from stages.core.findings import Note
from stages.core.records import Limits

from .arrow_checks import check_file, check_stream
from .cell_values import JSON_COLUMN
from .chunk_builders import Row
from .jsonl import too_long

_BATCH_ROWS = 64  # of Parquet: small, since one cell of a hostile file may unpack to megabytes
_SLICE_BYTES = 1 << 18
_NULLS_LIMIT = 1_000_000  # entries of a list that take no bytes in the file
_DEPTH = 32
_KNOWN_EXTENSIONS = frozenset({"arrow.json", "arrow.uuid", "arrow.bool8"})

Opener = Callable[[], Any]  # gives a fresh pyarrow file over the same bytes


class _Refused(Exception):
    """The file cannot be read on; `note` says why."""

    def __init__(self, note: Note) -> None:
        self.note = note
        super().__init__(note.message)


class TableReader:
    """Rows of one file. `notes`: findings about it; `rows` ends early at damage."""

    def __init__(self, container: str, size: int, limits: Limits) -> None:
        self.container = container
        self.size = size
        self.limits = limits
        self.notes: list[Note] = []
        self._made = 0
        self._json: list[str] = []

    def rows(self, opener: Opener) -> Iterator[Row]:
        """The rows in order; `line` is the row's number from 1, its byte offset is unknown (-1)."""
        number = 0
        try:
            for batch in self._batches(opener):
                self._check_rows(number + batch.num_rows)
                for row in self._render(batch, number):
                    self._made += len(row.data) + 1
                    if self._made > self.limits.ratio_floor and self._made > self.size * self.limits.ratio:
                        grew = f"{self.size:,} bytes gave more than {self._made:,}; the limit is {self.limits.ratio}:1"
                        raise _Refused(Note("bytes.bomb", "", grew))
                    yield row
                number += batch.num_rows
        except _Refused as refused:
            self.notes.append(refused.note)
        except (pa.ArrowException, OSError, ValueError) as error:
            why = clean(" ".join(str(error).split()))[:160]
            self.notes.append(Note("bytes.damaged-file", "", f"cannot be read after row {number:,}: {why}"))

    def _batches(self, opener: Opener) -> Iterator[Any]:
        if self.container == "parquet":
            import pyarrow.parquet as pq

            # page checksums, where the writer left some, turn silent damage into an error
            file = pq.ParquetFile(opener(), page_checksum_verification=True, memory_map=False)
            self._check_rows(file.metadata.num_rows)
            self._check_footer(file.metadata)
            columns = self._columns(file.schema_arrow)
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                batch.validate(full=True)
                yield batch
            return
        yield from self._file(opener) if self.container == "arrow" else self._stream(opener)

    def _file(self, opener: Opener) -> Iterator[Any]:
        note = check_file(opener(), self.size, self.limits)
        if note is not None:
            raise _Refused(note)
        with pa.ipc.open_file(opener()) as reader:
            columns = self._columns(reader.schema)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                self._check_rows(batch.num_rows)
                batch.validate(full=True)
                yield batch.select(columns)

    def _stream(self, opener: Opener) -> Iterator[Any]:
        note = check_stream(opener(), self.size, self.limits)
        if note is not None and note.rule != "bytes.truncated-file":
            raise _Refused(note)
        with pa.ipc.open_stream(opener()) as reader:
            columns = self._columns(reader.schema)
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    break
                except (pa.ArrowException, OSError) as error:
                    if note is None:
                        raise
                    raise _Refused(note) from error
                self._check_rows(batch.num_rows)
                batch.validate(full=True)
                yield batch.select(columns)
        if note is not None:  # the batches before the cut are whole
            raise _Refused(note)

    def _check_rows(self, rows: int) -> None:
        if self.limits.too_many(rows, self.size):
            raise _Refused(Note("bytes.bomb", "", f"{self.size:,} bytes claim to hold {rows:,} rows"))

    def _check_footer(self, metadata: Any) -> None:
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                part = metadata.row_group(group).column(column)
                big = part.total_uncompressed_size
                if big > self.limits.ratio_floor and big > part.total_compressed_size * self.limits.ratio:
                    grew = f"{part.total_compressed_size:,} bytes of a column unpack to {big:,}"
                    raise _Refused(Note("bytes.bomb", "", grew))

    def _columns(self, schema: Any) -> list[str]:
        """Names of the columns to read. Refuses what cannot be taken for plain values."""
        _check_names([field.name for field in schema])
        kept = []
        for field in schema:
            _check_type(field, field.name, 0)
            if _holds_bytes(field.type):
                what = f'the column "{clean(field.name[:80])}" holds raw bytes, not text; it is left out'
                self.notes.append(Note("table.binary-column", "", what))
            else:
                kept.append(field.name)
                if (field.metadata or {}).items() >= JSON_COLUMN.items() and _is_text(field.type):
                    self._json.append(field.name)
        return kept

    def _render(self, batch: Any, number: int) -> Iterator[Row]:
        arrays = []
        for array in batch.columns:
            if _weightless(array) > _NULLS_LIMIT:
                raise _Refused(Note("bytes.bomb", "", f"a list of more than {_NULLS_LIMIT:,} empty values"))
            arrays.append(array.cast(pa.string()) if _is_spelled(array.type) else array)
        batch = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
        step = 16
        if not any(_is_packed(array.type) for array in arrays):
            step = max(1, min(1024, _SLICE_BYTES * batch.num_rows // max(1, batch.nbytes)))
        for at in range(0, batch.num_rows, step):
            for offset, values in enumerate(batch.slice(at, step).to_pylist(), at):
                yield self._row(values, number + offset + 1)

    def _row(self, values: dict[str, object], line: int) -> Row:
        for name in self._json:
            values[name] = _decoded(values[name])
        try:
            data = orjson.dumps(values, default=str)
        except TypeError as error:
            note = Note("table.extension-type", "", f"the row cannot be written as JSON: {clean(str(error))}")
            return Row(b"", line, -1, -1, note)
        if len(data) > self.limits.line_bytes:
            note = too_long(len(data), self.limits.line_bytes, data)
            return Row(data[: self.limits.cut_bytes], line, -1, -1, note)
        return Row(data, line, -1, -1)


def _decoded(text: object) -> object:
    """The value that a column of JSON text holds, digits and all; the text itself when it is no JSON."""
    if not isinstance(text, str):
        return text
    try:
        orjson.loads(text)
    except ValueError:
        return text
    return orjson.Fragment(text)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _check_names(names: list[str]) -> None:
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        named = ", ".join(f'"{clean(name[:40])}"' for name in doubled[:5])
        raise _Refused(Note("table.duplicate-column", "", f"more than one column is named {named}"))


def _check_type(field: Any, name: str, depth: int) -> None:
    kind = field.type
    extension = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode("utf-8", "replace")
    if isinstance(kind, pa.BaseExtensionType):
        extension = kind.extension_name
    if extension and extension not in _KNOWN_EXTENSIONS:
        what = f'the column "{clean(name[:80])}" has the extension type {shown(extension)}'
        raise _Refused(Note("table.extension-type", "", what))
    if depth > _DEPTH:
        raise _Refused(
            Note("json.depth", "", f'the column "{clean(name[:80])}" is nested more than {_DEPTH} levels deep')
        )
    if pa.types.is_struct(kind):
        _check_names([kind.field(index).name for index in range(kind.num_fields)])
    if pa.types.is_nested(kind):
        for index in range(kind.num_fields):
            _check_type(kind.field(index), name, depth + 1)


def _inner(kind: Any) -> list[Any]:
    """The types inside a type."""
    if pa.types.is_dictionary(kind):
        return [kind.value_type]
    if pa.types.is_run_end_encoded(kind):
        return [kind.value_type]
    if pa.types.is_nested(kind):
        return [kind.field(index).type for index in range(kind.num_fields)]
    return []


def _holds_bytes(kind: Any) -> bool:
    own = (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )
    return own or any(map(_holds_bytes, _inner(kind)))


def _is_packed(kind: Any) -> bool:
    """Whether a few bytes may stand for many rows."""
    own = pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind)
    return own or any(map(_is_packed, _inner(kind)))


def _is_spelled(kind: Any) -> bool:
    """Whether Arrow's own text form is taken (Python's would lose nanoseconds, or need another library)."""
    return bool(pa.types.is_temporal(kind) or pa.types.is_decimal(kind)) and not pa.types.is_interval(kind)


def _weightless(array: Any) -> int:
    """Entries of the longest list in `array` whose entries take no bytes (nulls, empty structs): such a list may claim
    two thousand million of them."""
    kind = array.type
    if pa.types.is_struct(kind):
        return max([0, *(_weightless(array.field(index)) for index in range(kind.num_fields))])
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) if _no_bytes(kind.value_type) else _weightless(array.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return len(array.values) if _no_bytes(kind.value_type) else _weightless(array.values)
    return 0


def _no_bytes(kind: Any) -> bool:
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size == 0 or _no_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_no_bytes(kind.field(index).type) for index in range(kind.num_fields))
    return bool(pa.types.is_null(kind) or pa.types.is_run_end_encoded(kind))
