"""Arrow arrays around numpy's memory, without a copy.

`pyarrow.array` would do, but it imports pandas, where it is installed, to look whether its argument is one of pandas'
types: a quarter of a second in every worker.

    ints      values                     lists     borders | values [| which are there]
    texts     borders | UTF-8            bools     one bit each
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_INT32 = np.iinfo(np.int32)


def ints(values: NDArray[np.integer]) -> pa.Array:
    """An Arrow array around integers, without a copy of int32 and uint8.

    Args:
        values: Integers of any width, shape (n,).

    Returns:
        uint8 for uint8, else int32.

    Raises:
        OverflowError: A value does not fit into 32 bits.
    """
    if values.dtype == np.uint8:
        return pa.Array.from_buffers(pa.uint8(), len(values), [None, _buffer(values)])
    if values.dtype != np.int32:
        if len(values) and (values.max() > _INT32.max or values.min() < _INT32.min):
            raise OverflowError(f"{int(values.max()):,} does not fit into 32 bits")
        values = values.astype(np.int32)
    return pa.Array.from_buffers(pa.int32(), len(values), [None, _buffer(values)])


def bools(values: NDArray[np.bool_]) -> pa.Array:
    """A boolean array, shape (n,)."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def texts(values: Sequence[str]) -> pa.Array:
    """A string array."""
    data = [value.encode() for value in values]
    borders = np.concatenate([[0], np.cumsum([len(text) for text in data])]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(data), [None, _buffer(borders), pa.py_buffer(b"".join(data))])


def lists(
    values: NDArray[np.integer], borders: NDArray[np.integer], there: NDArray[np.bool_] | None = None
) -> pa.Array:
    """A list array: list i is values[borders[i] : borders[i + 1]].

    Args:
        values: Items of all lists end to end (any integer, uint8 stays uint8; [m]).
        borders: Where each list begins, and the end (any integer, [n + 1]).
        there: False where a list is null (bool, [n]); None when none is.

    Raises:
        OverflowError: A value or a border does not fit into 32 bits.
    """
    inner = ints(values)
    outer = ints(borders)
    return pa.Array.from_buffers(
        pa.list_(inner.type),
        len(borders) - 1,
        [None if there is None else _bits(there), outer.buffers()[1]],
        children=[inner],
    )


def _buffer(values: NDArray[np.integer]) -> pa.Buffer:
    return pa.py_buffer(np.ascontiguousarray(values))


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))
