"""The text report stays within 80 columns of a terminal, whatever script it shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.reports.text import COLUMNS, _wrapped
from stages.core.display import cells, clean


def test_chinese_values_break_at_80_columns() -> None:
    lines = _wrapped("value: " + "\u6253\u5f00\u5ba2\u5385\u7684\u706f" * 20, "      ")
    assert len(lines) > 2
    assert max(map(cells, lines)) <= COLUMNS
    assert all(line.startswith("      ") for line in lines)
    assert "".join(line.strip() for line in lines) == "value: " + "\u6253\u5f00\u5ba2\u5385\u7684\u706f" * 20


def test_a_long_path_stays_whole() -> None:
    path = "/data/" + "caf\u00e9" * 30
    assert path in _wrapped(f"value: {path} more", "  ")[1]


@given(st.text(max_size=200))
def test_no_character_is_lost(text: str) -> None:
    shown = "".join("".join(_wrapped(text, "  ")).split())
    assert shown == "".join(clean(text).split())
