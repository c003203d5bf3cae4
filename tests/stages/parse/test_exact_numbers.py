"""Numbers that orjson cannot hold are written as they stood."""

from __future__ import annotations

import json
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.parse.exact_numbers import load_exact, number_text


def through(text: str) -> str:
    data = f'{{"n": {text}}}'.encode()
    return orjson.dumps(load_exact(data, orjson.loads(data))["n"]).decode()


@pytest.mark.parametrize(
    "text",
    ["123456789012345678901234567890", "-99999999999999999999", "18446744073709551616", "3.14159265358979323846"],
)
def test_a_number_too_wide_or_too_fine_keeps_its_text(text: str) -> None:
    """Beyond 64 bits, or more digits than a float has."""
    assert through(text) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_every_decimal_keeps_its_value(number: Decimal) -> None:
    """However many digits it has."""
    assert Decimal(through(format(number, "f"))) == number


@given(st.integers())
def test_every_integer_keeps_its_value(number: int) -> None:
    """However wide it is."""
    assert int(through(str(number))) == number


def test_a_record_without_such_numbers_is_not_read_twice() -> None:
    """The value that orjson read is handed on as it is, digits inside a text notwithstanding."""
    data = b'{"id": "1234567890123456789012", "n": 1.5}'
    value = orjson.loads(data)
    assert load_exact(data, value) is value


def test_the_text_of_a_kept_number() -> None:
    """What a column of text holds for it."""
    data = json.dumps({"n": 10**30}).encode()
    assert number_text(load_exact(data, orjson.loads(data))["n"]) == "1" + "0" * 30
