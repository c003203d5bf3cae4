"""The bounds on what is read hold whatever the sizes, and cannot be moved under way."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.findings import Note
from stages.core.records import Limits, Record


@given(st.integers(1, 1 << 40))
def test_a_block_is_never_more_than_a_chunk_or_the_cpus_cache(chunk_bytes: int) -> None:
    block = Limits(chunk_bytes=chunk_bytes).block_bytes
    assert 16 <= block <= 1 << 18
    assert block <= max(16, chunk_bytes)


def test_limits_stay_as_they_were_given() -> None:
    limits = Limits(line_bytes=10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.line_bytes = 1 << 40  # type: ignore[misc]


def test_a_further_note_makes_a_new_record_at_the_same_place() -> None:
    record = Record(b"{}", 3, 2, 40)
    noted = record._replace(notes=(*record.notes, Note("bytes.line-too-long", "", "long")))
    assert record.notes == ()
    assert (noted.data, noted.line, noted.record, noted.byte_offset) == (b"{}", 3, 2, 40)
