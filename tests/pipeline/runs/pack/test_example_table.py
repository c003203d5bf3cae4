"""The table of all examples: the chunks' columns end to end, with the place of each in its cache."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.jobs.specs import ChunkResult
from pipeline.runs.collect import Collected, FileTotals
from pipeline.runs.pack.example_table import make_table
from stages.truncate.cut_findings import Examples


def chunk(source: int, cache: str, tokens: list[int], first: int = 0) -> ChunkResult:
    """A chunk whose examples have one segment more each."""
    count = len(tokens)
    lengths = np.array(tokens, dtype=np.int32)
    numbers = np.arange(first, first + count, dtype=np.int64)
    examples = Examples(
        cache=cache, record=numbers, line=numbers + 1, tokens_in=lengths, trained_in=lengths, tokens=lengths,
        trained=lengths, segments=np.arange(1, count + 1, dtype=np.int32), hash=numbers.astype(np.uint64),
        fate=np.zeros(count, dtype=np.uint8),
    )  # fmt: skip
    return ChunkResult(source, "a", 0, first, count, {}, [], {}, [], None, 0, examples)


def collected(*chunks: tuple[int, int, ChunkResult]) -> Collected:
    return Collected(files=[FileTotals(0, "a"), FileTotals(0, "b", base=100)], chunks=list(chunks))


def test_places_count_through_each_cache_anew() -> None:
    """Token and segment starts are sums within the chunk's own cache file."""
    table = make_table(collected((0, 0, chunk(0, "x", [3, 4, 5])), (0, 0, chunk(0, "y", [6, 7], first=3))), 0)
    assert table.caches == ["x", "y"]
    assert table.cache.tolist() == [0, 0, 0, 1, 1]
    assert table.token_start.tolist() == [0, 3, 7, 0, 6]
    assert table.segment_start.tolist() == [0, 1, 3, 0, 1]


def test_a_place_in_a_source_counts_the_files_before() -> None:
    table = make_table(collected((0, 0, chunk(0, "x", [3])), (0, 1, chunk(0, "y", [4, 5]))), 0)
    assert table.record.tolist() == [0, 0, 1]
    assert table.position.tolist() == [0, 100, 101]
    assert table.file.tolist() == [0, 1, 1]


def test_an_appended_end_is_in_no_cache() -> None:
    """Its token counts in the lengths, and not in where the ids lie."""
    table = make_table(collected((0, 0, chunk(0, "x", [3, 4]))), 1)
    assert table.ids.tolist() == [2, 3]
    assert table.token_start.tolist() == [0, 2]
    assert table.tokens_in.tolist() == [3, 4]


def test_no_chunk_and_an_empty_chunk_are_no_example() -> None:
    assert len(make_table(collected(), 0).record) == 0
    table = make_table(collected((0, 0, chunk(0, "x", []))), 0)
    assert len(table.record) == 0 and table.record.dtype == np.int64


def test_a_chunk_that_was_only_checked_has_no_place_here() -> None:
    checked = chunk(0, "x", [3])._replace(examples=None)
    with pytest.raises(AssertionError):
        make_table(collected((0, 0, checked)), 0)
