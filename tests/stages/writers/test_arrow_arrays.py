"""Arrays made around numpy's memory are those that pyarrow itself makes, and making them does not load pandas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.writers.arrow_arrays import bools, ints, lists, texts

INT32 = st.integers(-(2**31), 2**31 - 1)


@given(st.lists(st.one_of(st.none(), st.lists(INT32, max_size=5)), max_size=20))
def test_lists_hold_what_was_put_in(rows: list[list[int] | None]) -> None:
    values = np.array([value for row in rows for value in row or ()], dtype=np.int64)
    borders = np.concatenate([[0], np.cumsum([len(row or ()) for row in rows])])
    there = np.array([row is not None for row in rows], dtype=np.bool_)
    found = lists(values, borders, there)
    found.validate(full=True)
    assert found.to_pylist() == rows
    assert found.null_count == rows.count(None)


@given(st.lists(INT32), st.lists(st.booleans()), st.lists(st.text()))
def test_flat_arrays_hold_what_was_put_in(numbers: list[int], flags: list[bool], words: list[str]) -> None:
    words = [word.encode("utf-8", "replace").decode() for word in words]
    for found, wanted in (
        (ints(np.array(numbers, dtype=np.int64)), pa.array(numbers, type=pa.int32())),
        (bools(np.array(flags, dtype=np.bool_)), pa.array(flags, type=pa.bool_())),
        (texts(words), pa.array(words, type=pa.string())),
    ):
        found.validate(full=True)
        assert found.equals(wanted)


def test_a_value_beyond_32_bits_is_no_wrong_number() -> None:
    with pytest.raises(OverflowError):
        ints(np.array([2**31]))


def test_pandas_is_not_loaded() -> None:
    code = (
        "import sys, numpy as np\n"
        "from stages.writers.arrow_arrays import bools, lists, texts\n"
        "lists(np.arange(3), np.array([0, 3])); bools(np.ones(2, dtype=bool)); texts(['a'])\n"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
