"""Arrow's framing is checked before Arrow opens a file: cut, damaged and bloated ones are named, whole ones pass."""

from __future__ import annotations

import io
import struct

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.findings import Note
from stages.core.records import Limits
from stages.readers.arrow_checks import check_file, check_stream

CHECKS = {"file": check_file, "stream": check_stream}
LIMITS = Limits()


def written(kind: str, compression: str | None = None, text: str = "abc", batches: int = 3) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    batch = pa.record_batch({"text": [text] * 20, "n": list(range(20))})
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(sink, batch.schema, options=options) as writer:
        for _ in range(batches):
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


WHOLE = {kind: written(kind, "zstd") for kind in CHECKS}


def check(kind: str, data: bytes, limits: Limits = LIMITS) -> Note | None:
    return CHECKS[kind](io.BytesIO(data), len(data), limits)


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize("batches", [0, 1, 3])
@pytest.mark.parametrize("kind", CHECKS)
def test_whole_data_pass(kind: str, batches: int, compression: str | None) -> None:
    assert check(kind, written(kind, compression, batches=batches)) is None


@settings(max_examples=60)
@given(st.sampled_from(sorted(CHECKS)), st.data())
def test_data_that_end_anywhere_before_their_end_are_named(kind: str, data: st.DataObject) -> None:
    """Arrow itself takes a stream cut between two batches for a shorter table."""
    end = data.draw(st.integers(0, len(WHOLE[kind]) - 1))
    note = check(kind, WHOLE[kind][:end])
    assert note is not None
    assert note.rule in ("bytes.truncated-file", "bytes.damaged-file")


@settings(max_examples=60)
@given(st.sampled_from(sorted(CHECKS)), st.data())
def test_bytes_changed_at_will_end_in_a_note_or_pass_but_never_in_a_crash(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 4))
        damaged[at : at + 4] = struct.pack("<i", data.draw(st.integers(-(2**31), 2**31 - 1)))
    note = check(kind, bytes(damaged))
    assert note is None or note.rule in ("bytes.truncated-file", "bytes.damaged-file", "bytes.bomb")


def test_bytes_behind_the_end_mark_of_a_stream_are_named() -> None:
    note = check("stream", WHOLE["stream"] + b"more")
    assert note is not None
    assert note.rule == "bytes.damaged-file"
    assert f"at byte {len(WHOLE['stream']) - 8:,}" in note.message


@pytest.mark.parametrize("kind", CHECKS)
def test_a_buffer_that_claims_too_much_is_a_bomb_and_a_plain_one_of_its_size_is_none(kind: str) -> None:
    """What a compressed buffer claims stands in its first eight bytes."""
    limits = Limits(ratio=5, ratio_floor=1000)
    bloated = written(kind, "zstd", "a" * 1000)
    note = check(kind, bloated, limits)
    assert note is not None
    assert note.rule == "bytes.bomb"
    assert check(kind, bloated) is None
    assert check(kind, written(kind, None, "a" * 1000), limits) is None


def test_other_bytes_are_no_arrow_data() -> None:
    for kind in CHECKS:
        for data in (b"", b"ARROW1", b'{"a": 1}\n' * 20, b"\xff" * 40, b"ARROW1\0\0" + b"\0" * 40 + b"ARROW1"):
            assert check(kind, data) is not None, (kind, data)
