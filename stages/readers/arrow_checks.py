"""The framing of Arrow IPC, checked before Arrow opens it: is the file whole, and what does it claim to unpack to?

Arrow takes a stream cut between two batches for a shorter table, and unpacks a compressed buffer to whatever length its
first eight bytes claim. Both are read off here without touching the data: the message headers are flatbuffers, of which
four tables matter (columnar format specification, "Encapsulated message format" and `Message.fbs`).

    0xFFFFFFFF | int32 header bytes | header, padded to 8 | body ... | 0xFFFFFFFF | int32 0 = end
"""

from __future__ import annotations

import struct
from typing import Any

from stages.core.findings import Note
from stages.core.records import Limits

_MARK = b"\xff\xff\xff\xff"
_END = _MARK + b"\0\0\0\0"
_PACKED_RATIO = 50  # of one batch, which is unpacked at once: text comes to ten times its size
_HEADER_LIMIT = 256 << 20
_DICTIONARY, _RECORDS = 2, 3  # MessageHeader


def check_stream(source: Any, size: int, limits: Limits) -> Note | None:
    """Walks the messages of an Arrow stream, a seekable file of `size` bytes. The first thing wrong, or None."""
    at = 0
    try:
        while True:
            prefix = _read(source, at, 8)
            if len(prefix) < 8:
                return Note("bytes.truncated-file", "", "the Arrow stream ends without its end mark")
            if prefix == _END:
                if at + 8 == size:
                    return None
                return Note("bytes.damaged-file", "", f"an end mark at byte {at:,}, before the end")
            note, at = _check(source, at, size, limits)
            if note is not None:
                return note
    except (struct.error, OverflowError):
        return Note("bytes.damaged-file", "", f"the Arrow message at byte {at:,} has a damaged header")


def check_file(source: Any, size: int, limits: Limits) -> Note | None:
    """The same for the file format, in which a footer lists the messages."""
    tail = _read(source, size - 10, 10)
    if tail[4:] != b"ARROW1":
        return Note("bytes.truncated-file", "", "the Arrow file ends without its footer")
    at = size - 10
    try:
        footer_bytes = _int("i", tail, 0)
        if not 0 < footer_bytes <= min(_HEADER_LIMIT, size):
            raise struct.error("footer length")
        footer = _read(source, size - 10 - footer_bytes, footer_bytes)
        for at in _blocks(footer, 2) + _blocks(footer, 3):  # dictionaries, batches
            note, _ = _check(source, at, size, limits)
            if note is not None:
                return note
    except (struct.error, OverflowError):
        return Note("bytes.damaged-file", "", f"the Arrow header at byte {at:,} is damaged")
    return None


def _blocks(footer: bytes, number: int) -> list[int]:
    """Offsets of the messages that a field of the footer lists."""
    field = _field(footer, _int("I", footer, 0), number)
    if not field:
        return []
    start = field + _int("I", footer, field)
    return [_int("q", footer, start + 4 + 24 * index) for index in range(_int("I", footer, start))]


def _check(source: Any, at: int, size: int, limits: Limits) -> tuple[Note | None, int]:
    """What is wrong with the message at `at`, and where the next one starts."""
    prefix = _read(source, at, 8)
    header_bytes = _int("i", prefix, 4)
    if prefix[:4] != _MARK or not 0 < header_bytes <= min(_HEADER_LIMIT, size):
        return Note("bytes.damaged-file", "", f"no Arrow message at byte {at:,}"), at
    header = _read(source, at + 8, header_bytes)
    kind, body_bytes, table = _message(header)
    body = at + 8 + header_bytes
    if body_bytes < 0 or body + body_bytes > size:
        return Note("bytes.truncated-file", "", f"the Arrow message at byte {at:,} is not whole"), at
    if kind in (_DICTIONARY, _RECORDS):
        claimed = _claimed(source, body, body_bytes, _batch(header, table, kind))
        if claimed > limits.ratio_floor and claimed > body_bytes * min(limits.ratio, _PACKED_RATIO):
            return Note("bytes.bomb", "", f"{body_bytes:,} bytes claim to unpack to {claimed:,}"), at
    return None, body + body_bytes


def _read(source: Any, at: int, size: int) -> bytes:
    if at < 0:
        return b""
    source.seek(at)
    return bytes(source.read(size))


def _int(form: str, header: bytes, at: int) -> int:
    if at < 0:
        raise struct.error("before the start")
    return int(struct.unpack_from("<" + form, header, at)[0])


def _field(header: bytes, table: int, number: int) -> int:
    """Place of a table's field, 0 when it is left out."""
    vtable = table - _int("i", header, table)
    slot = 4 + 2 * number
    if slot >= _int("H", header, vtable):
        return 0
    offset = _int("H", header, vtable + slot)
    return table + offset if offset else 0


def _message(header: bytes) -> tuple[int, int, int]:
    """(kind, body bytes, place of the kind's own table)."""
    root = _int("I", header, 0)
    kind, inner, body = (_field(header, root, number) for number in (1, 2, 3))
    table = inner + _int("I", header, inner) if inner else 0
    return (_int("B", header, kind) if kind else 0), (_int("q", header, body) if body else 0), table


def _batch(header: bytes, table: int, kind: int) -> tuple[bytes, int]:
    """The header and the place of the RecordBatch table in it."""
    if kind == _DICTIONARY:
        inner = _field(header, table, 1)
        table = inner + _int("I", header, inner)
    return header, table


def _claimed(source: Any, body: int, body_bytes: int, batch: tuple[bytes, int]) -> int:
    """Bytes that a batch's buffers claim to have once unpacked."""
    header, table = batch
    buffers, packed = _field(header, table, 2), _field(header, table, 3)
    if not buffers:
        return 0
    if not packed:
        return body_bytes
    start = buffers + _int("I", header, buffers)
    total = 0
    for number in range(_int("I", header, start)):
        offset, length = struct.unpack_from("<qq", header, start + 4 + 16 * number)
        if length >= 8 and 0 <= offset <= body_bytes - 8:
            claimed = _int("q", _read(source, body + offset, 8), 0)
            total += length if claimed < 0 else claimed
    return total
