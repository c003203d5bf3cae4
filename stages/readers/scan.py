"""One file, start to end: sniffed, decompressed, hashed and cut into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from registry.datasets.types import Fields
from registry.errors import MachineFault
from stages.core.display import clean
from stages.core.findings import Note
from stages.core.records import Chunk, FileInfo, Limits, Record
from stages.core.urls import is_url, local_path, public

from . import sniff
from .cell_values import spelled, with_values
from .chunk_builders import row_chunks, row_records, span_records, text_rows
from .csv_rows import CsvReader
from .decompress import Meter, compression, decompressed
from .jsonl import LineScanner, line_records
from .local_file import Source, changed, read_range
from .remote_file import RemoteSource

_SNIFF_BYTES = 1 << 16
_DEFAULT = Limits()


def scan(path: str, limits: Limits = _DEFAULT) -> Iterator[Chunk | FileInfo]:
    """The chunks of a file or URL in order, then its FileInfo. Memory is bounded by `limits`, not by the file.

    Damage is a note in FileInfo, and what is readable before it is handed on. Raises UsageFault when `path` is no
    regular file, MachineFault when it cannot be read.
    """
    path = local_path(path) or path
    notes: list[Note] = []
    with _open(path, limits) as source:
        scanned = _Scan(public(path) if is_url(path) else path, limits, notes)
        yield from scanned.run(source)
        digest, size = source.finish()
        if not scanned.records and all(note.rule in _HARMLESS for note in notes):
            notes.append(Note("bytes.empty", "", "the file is empty" if not size else "the file holds no record"))
        yield FileInfo(scanned.path, digest, size, scanned.records, scanned.container, tuple(notes))


def _open(path: str, limits: Limits) -> Source | RemoteSource:
    return RemoteSource(path, limits.block_bytes) if is_url(path) else Source(path, limits.block_bytes)


# what a file may have and still hold records; any other finding already says why it holds none
_HARMLESS = frozenset(
    {
        "bytes.bom",
        "bytes.extension",
        "json.array-in-jsonl",
        "json.separator",
        "table.delimiter",
        "table.binary-column",
    }
)


class _Scan:
    """State of one scan: what `run` found, besides the chunks."""

    def __init__(self, path: str, limits: Limits, notes: list[Note]) -> None:
        self.path = path
        self.limits = limits
        self.notes = notes
        self.records = 0
        self.container: sniff.Container = ""

    def run(self, source: Source | RemoteSource) -> Iterator[Chunk]:
        """The chunks of an open source."""
        packed = compression(source.head(16))
        promised, promised_packed = sniff.ending(self.path)
        blocks: Iterator[bytes] = source.blocks()
        meter = Meter(self.limits, self.notes)
        if packed:
            if promised_packed != packed:
                named = f"named .{promised_packed or promised}, but" if promised_packed or promised else "the file"
                self._note("bytes.extension", f"{named} is {packed}-compressed")
            blocks = decompressed(packed, blocks, self.limits, self.notes, meter)
        else:
            if promised_packed:
                self._note("bytes.extension", f"named .{promised_packed}, but it is not compressed")
            found = sniff.binary(source.head(512))
            if found is not None and found.container:
                if promised and not found.container.startswith(promised):
                    self._note("bytes.extension", f"named .{promised}, but it holds {found.container}")
                self.container = found.container
                yield from self._table(source)
                return
        head, blocks = _peek(blocks, _SNIFF_BYTES)
        if packed and (inner := compression(head)):
            self._note("bytes.nested-compression", f"{inner} inside {packed}: only one layer of compression is undone")
            return
        chunks = self._text(head, blocks, packed, keep=bool(packed) or not source.seekable)
        yield from self._bounded(chunks, meter) if packed else chunks

    def _bounded(self, chunks: Iterator[Chunk], meter: Meter) -> Iterator[Chunk]:
        """The chunks of a compressed file, as long as there are no more records than its bytes can mean."""
        count = 0
        for chunk in chunks:
            yield chunk
            count += chunk.records
            if self.limits.too_many(count, meter.taken):
                self.records = count
                self._note("bytes.bomb", f"{meter.taken:,} compressed bytes gave more than {count:,} records")
                return

    def _text(self, head: bytes, blocks: Iterator[bytes], packed: str, *, keep: bool) -> Iterator[Chunk]:
        found = sniff.binary(head)
        start = 0
        if found is None:
            if head.startswith(sniff.BOM):
                self._note("bytes.bom", "the file starts with a byte order mark")
                start = len(sniff.BOM)
                blocks = _without_first(blocks, start)
            found = sniff.text(head[start:], self.path)
        if found.note is not None:
            self.notes.append(found.note)
        self.container = found.container
        if found.container == "jsonl":
            yield from self._lines(blocks, start, keep=keep)
        elif found.container in ("array", "object"):
            yield from self._values(blocks, start, keep=keep)
        elif found.container in ("csv", "tsv", "txt"):
            yield from self._rows(blocks, start)
        elif found.container:
            self._note(
                "bytes.nested-compression", f"{found.container} inside {packed}: such files pack their own parts"
            )

    def _note(self, rule: str, message: str) -> None:
        self.notes.append(Note(rule, "", message))

    def _lines(self, blocks: Iterable[bytes], start: int, *, keep: bool) -> Iterator[Chunk]:
        scanner = LineScanner(self.path, self.limits, keep=keep, start=start)
        yield from scanner.scan(blocks)
        self.records = scanner.records
        if scanner.carriage_returns and scanner.records:
            share = "all" if scanner.carriage_returns == scanner.lines else f"{scanner.carriage_returns:,} of"
            count = "" if share == "all" else f" {scanner.lines:,}"
            self._note("bytes.crlf", f"{share}{count} lines end in CR LF")

    def _values(self, blocks: Iterable[bytes], start: int, *, keep: bool) -> Iterator[Chunk]:
        from .json_array import ArrayScanner  # numpy, which JSON lines do without

        scanner = ArrayScanner(self.path, self.limits, keep=keep, start=start, free=self.container == "object")
        yield from scanner.scan(blocks)
        self.records = scanner.records
        self.notes += scanner.notes
        if self.container == "object" and scanner.records > 1:
            what = f"{scanner.records:,} objects, each spread over several lines, with no array around them"
            self._note("json.spread-objects", what)

    def _rows(self, blocks: Iterable[bytes], start: int) -> Iterator[Chunk]:
        if self.container == "txt":
            yield from self._counted(row_chunks(self.path, text_rows(blocks, start, self.limits), self.limits))
            return
        reader = CsvReader(self.limits, delimiter="\t" if self.container == "tsv" else ",")
        yield from self._counted(row_chunks(self.path, reader.rows(blocks, start), self.limits, "cells"))
        self.notes += reader.notes

    def _table(self, source: Source | RemoteSource) -> Iterator[Chunk]:
        from .tables import TableReader  # pyarrow, which text does without

        reader = TableReader(self.container, source.total(), self.limits)
        yield from self._counted(row_chunks(self.path, reader.rows(source.table), self.limits))
        self.notes += reader.notes

    def _counted(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            self.records += chunk.records
            yield chunk


def _peek(blocks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """The first `size` bytes (or all there are), and the blocks with those bytes still in front."""
    parts: list[bytes] = []
    have = 0
    while have < size and (block := next(blocks, b"")):
        parts.append(block)
        have += len(block)
    head = parts[0] if len(parts) == 1 else b"".join(parts)
    return head[:size], _chain(parts, blocks)


def _chain(parts: list[bytes], blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield from parts
    yield from blocks


def _without_first(blocks: Iterator[bytes], size: int) -> Iterator[bytes]:
    for block in blocks:
        yield block[size:]
        size = max(0, size - len(block))


def load(chunk: Chunk) -> bytes:
    """A chunk's bytes. Raises MachineFault when they are no longer those that were scanned."""
    if chunk.data is not None:
        return chunk.data
    import xxhash

    try:
        data = read_range(chunk.path, chunk.start, chunk.end)
    except MemoryError:
        raise MachineFault(
            f"{clean(chunk.path)}: out of memory for a chunk of {chunk.end - chunk.start:,} bytes"
        ) from None
    if chunk.digest and xxhash.xxh3_128_hexdigest(data) != chunk.digest:
        raise changed(chunk.path)
    return data


def records(chunk: Chunk, limits: Limits = _DEFAULT, fields: Fields | None = None) -> Iterable[Record]:
    """The records of a chunk, fetched from its file when it does not carry them.

    fields: the map they are read under, by which cells of a CSV file become lists and truth values; without it they
    stay texts.
    """
    del limits  # the bounds were applied when the chunk was made; kept so that every reader is called alike
    data = load(chunk)
    if chunk.kind == "jsonl":
        if not chunk.marks:
            return line_records(data, chunk)
        out = list(line_records(data, chunk))
    elif chunk.kind in ("rows", "cells"):
        out = row_records(data, chunk)
        if chunk.kind == "cells" and fields is not None:
            out = _with_values(out, chunk, fields)
    else:
        out = span_records(data, chunk)
    for which, note in chunk.marks:
        out[which] = out[which]._replace(notes=(*out[which].notes, note))
    return out


def _with_values(rows: list[Record], chunk: Chunk, fields: Fields) -> list[Record]:
    """Rows of cells with the values that they spell; a bad row is no JSON, and stays as it is."""
    bad = {which for which, _ in chunk.marks}
    columns = spelled(fields)
    return [
        row if number in bad else row._replace(data=with_values(row.data, columns)) for number, row in enumerate(rows)
    ]
