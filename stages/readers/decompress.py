"""Decompression that a hostile file cannot abuse: streamed, bounded by ratio, one layer deep.

What was readable before damage or a cut is handed on, and the damage is noted: complete records before it survive.
gzip, bzip2 and xz members that follow each other are read as one; so are zstd frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from registry.errors import MachineFault
from stages.core.display import clean
from stages.core.findings import Note
from stages.core.records import Limits

MAGIC = {
    b"\x1f\x8b": "gz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"\xfd7zXZ\0": "xz",
}
ENDINGS = {".gz": "gz", ".zst": "zst", ".bz2": "bz2", ".xz": "xz"}
_XZ_MEMORY = 256 << 20  # xz -9 needs 65 MiB; a header may ask for 4 GiB


def compression(head: bytes) -> str:
    """ "gz", "zst", "bz2", "xz" by the first bytes, or ""."""
    for magic, name in MAGIC.items():
        if head.startswith(magic):
            return name
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):  # a block, or the end of an empty file
        return "bz2"
    if len(head) >= 4 and 0x50 <= head[0] <= 0x5F and head[1:4] == b"\x2a\x4d\x18":
        return "zst"  # a skippable frame before the first real one, as parallel compressors write it
    return ""


class _Decoder(Protocol):
    """One member's state: bytes in, at most `max_length` bytes out."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's object under the interface that bz2 and lzma share."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def unused(self) -> bytes:
        """What was given and not yet looked at."""
        return self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(max_length, 0))


def _new_decoder(name: str) -> Callable[[], _Decoder]:
    if name == "gz":
        return _Gzip
    if name == "bz2":
        import bz2

        return bz2.BZ2Decompressor
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def decompressed(
    name: str, raw: Iterable[bytes], limits: Limits, notes: list[Note], meter: Meter | None = None
) -> Iterator[bytes]:
    """Blocks of the decompressed bytes of `raw`, compressed as `name`; at most `limits.block_bytes` each.

    Appends a note (bytes.bomb, bytes.truncated-file, bytes.damaged-file) and stops when the rest cannot be had.
    """
    meter = meter or Meter(limits, notes)
    source = _zstd_blocks(meter.counted(raw), limits, notes) if name == "zst" else _blocks(name, raw, meter)
    for block in source:
        if not meter.allows(len(block)):
            return
        yield block


class Meter:
    """Counts both sides; refuses what grows beyond the ratio."""

    def __init__(self, limits: Limits, notes: list[Note]) -> None:
        self.limits = limits
        self.notes = notes
        self.inside = 0
        self.waiting = 0  # of `inside`, not yet unpacked
        self.outside = 0

    @property
    def taken(self) -> int:
        """Compressed bytes that what came out so far was made of."""
        return self.inside - self.waiting

    def counted(self, raw: Iterable[bytes]) -> Iterator[bytes]:
        for block in raw:
            self.inside += len(block)
            yield block

    def allows(self, size: int) -> bool:
        self.outside += size
        if self.outside <= self.limits.ratio_floor or self.outside <= self.taken * self.limits.ratio:
            return True
        grew = f"{self.taken:,} compressed bytes gave more than {self.outside - size:,}"
        self.notes.append(Note("bytes.bomb", "", f"{grew}; the limit is {self.limits.ratio}:1"))
        return False


def _blocks(name: str, raw: Iterable[bytes], meter: Meter) -> Iterator[bytes]:
    """gzip, bzip2, xz: member after member."""
    import lzma
    import zlib

    limits, notes = meter.limits, meter.notes
    new = _new_decoder(name)
    decoder: _Decoder | None = None
    made = 0
    pending = b""
    for data in meter.counted(raw):
        data = pending + data
        pending = b""
        while True:
            if decoder is None:
                data = data.lstrip(b"\0") if made else data  # tar and tape tools pad members with NUL
                if not data:
                    break
                decoder = new()
            try:
                block = decoder.decompress(data, limits.block_bytes)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                notes.append(_damage(name, made, error))
                return
            except MemoryError:
                raise MachineFault("out of memory while decompressing") from None
            made += len(block)
            meter.waiting = len(decoder.unused) if isinstance(decoder, _Gzip) else 0
            if block:
                yield block
            data = b""
            if decoder.eof:
                data, decoder = decoder.unused_data, None
                continue
            if decoder.needs_input and len(block) < limits.block_bytes:
                break
    if decoder is not None:
        # what a codec still holds back (bz2 and xz give out whole blocks only) is lost with the cut
        notes.append(_cut(name, made))


def _zstd_blocks(raw: Iterator[bytes], limits: Limits, notes: list[Note]) -> Iterator[bytes]:
    """zstd: frame after frame. The window bound keeps a frame from asking for gigabytes."""
    import zstandard

    context = zstandard.ZstdDecompressor(max_window_size=limits.window_bytes)
    decoder = None
    made = 0
    for data in raw:
        at = 0
        while at < len(data):
            # this interface takes no output limit: 2 KiB in gives at most 64 MiB out (a 4-byte block is 128 KiB)
            piece = data[at : at + 2048]
            at += len(piece)
            while piece:
                decoder = decoder or context.decompressobj()
                try:
                    block = decoder.decompress(piece)
                except zstandard.ZstdError as error:
                    notes.append(_damage("zst", made, error))
                    return
                made += len(block)
                if block:
                    yield block
                piece = b""
                if decoder.eof:
                    piece, decoder = decoder.unused_data, None
    if decoder is not None:
        notes.append(_cut("zst", made))


def _damage(name: str, made: int, error: Exception) -> Note:
    reason = clean(str(error)) or type(error).__name__
    return Note("bytes.damaged-file", "", f"the {name} data is damaged after {made:,} decompressed bytes: {reason}")


def _cut(name: str, made: int) -> Note:
    return Note("bytes.truncated-file", "", f"the {name} file ends in the middle, after {made:,} decompressed bytes")
