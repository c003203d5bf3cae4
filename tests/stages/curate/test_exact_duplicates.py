"""Every copy names its first one, in input order, whichever way they are looked for."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.curate import exact_duplicates
from stages.curate.exact_duplicates import copies

PARTS = st.lists(st.lists(st.integers(0, 20) | st.integers(0, 2**64 - 1), max_size=20), max_size=4)


def arrays(parts: list[list[int]]) -> list[array[int]]:
    return [array("Q", part) for part in parts]


@pytest.mark.parametrize("many", [0, 200_000])  # by numpy, and without it
@given(PARTS)
def test_a_copy_is_what_has_an_equal_one_before_it(many: int, parts: list[list[int]]) -> None:
    flat = [digest for part in parts for digest in part]
    want = [(place, flat.index(digest)) for place, digest in enumerate(flat) if digest in flat[:place]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_duplicates, "_MANY", many)
        assert copies(arrays(parts)) == want


def test_positions_count_over_all_files() -> None:
    assert copies(arrays([[7, 8], [], [8, 7, 7]])) == [(2, 1), (3, 0), (4, 0)]


def test_no_records_have_no_copies() -> None:
    assert copies([]) == copies(arrays([[], []])) == []


def test_many_records_are_looked_through_in_no_time() -> None:
    digests = array("Q", range(exact_duplicates._MANY)) + array("Q", [2**64 - 1, 5, 2**64 - 1])
    last = exact_duplicates._MANY
    assert copies([digests]) == [(last + 1, 5), (last + 2, last)]


def test_hashes_of_another_width_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_duplicates, "_MANY", 0)
    with pytest.raises(ValueError, match="size"):
        copies([array("I", [1])])
