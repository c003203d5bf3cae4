"""Numbers that survive: JSON read so that an integer beyond 64 bits, or a float of many digits, is written as it stood.

orjson reads both as the nearest float. Records that may hold such a number are read by `json`, which hands on the text
of each; it is kept as an `orjson.Fragment`, which orjson writes as it is.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import orjson

from .diagnose import INT_MAX, INT_MIN

# up to 15 digits every decimal survives the way through a double
_MANY_DIGITS = re.compile(rb"[0-9][0-9.]{15}")


def load_exact(data: bytes, value: Any) -> Any:
    """`value`, which orjson read from `data`, or the same with fragments for numbers that orjson cannot hold."""
    if _MANY_DIGITS.search(data) is None:
        return value
    loader = _Loader()
    exact = json.loads(data, parse_int=loader.integer, parse_float=loader.decimal)
    return exact if loader.found else value


class _Loader:
    """Reads numbers; `found` once one of them needs its text."""

    def __init__(self) -> None:
        self.found = False

    def integer(self, text: str) -> int | orjson.Fragment:
        # int() refuses 4,300 digits and more
        if len(text) <= 20 and INT_MIN <= (number := int(text)) <= INT_MAX:
            return number
        self.found = True
        return orjson.Fragment(text)

    def decimal(self, text: str) -> float | orjson.Fragment:
        number = float(text)
        if Decimal(text) == Decimal(repr(number)):
            return number
        self.found = True
        return orjson.Fragment(text)


def number_text(value: orjson.Fragment) -> str:
    """The text of a number that `load_exact` kept."""
    return orjson.dumps(value).decode()
