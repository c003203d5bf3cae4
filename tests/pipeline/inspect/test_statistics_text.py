"""The figures of `prep stats` for a person: 80 columns, nothing that acts, and no share rounded up to all."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspect.history import load_history
from pipeline.inspect.open_target import open_shards
from pipeline.inspect.statistics import Pace, statistics
from pipeline.inspect.statistics_text import bar, stats_text
from tests.support.packed_outputs import demo_output


@pytest.fixture
def document() -> dict[str, Any]:
    """The figures of the demo, packed so tight that much is cut."""
    shards = open_shards(str(demo_output("cutoff_len=72")))
    return statistics(load_history(shards), pace=Pace(3000.0))


def test_the_text_fits_80_columns(document: dict[str, Any]) -> None:
    """Tables and bars do not wrap on a terminal of 80 columns, and the present cutoff is marked."""
    text = stats_text(document, "out")
    assert max(len(line) for line in text.splitlines()) <= 80
    assert re.search(r"^ {2}512 |^ +512 ", text, re.MULTILINE)
    assert "GPU-hours" in text


def test_a_hostile_name_cannot_reach_the_terminal(document: dict[str, Any]) -> None:
    """A data set's name with control characters is shown escaped."""
    document["sources"]["\x1b[31mred\u202e"] = document["sources"].pop("demo_alpaca")
    text = stats_text(document, "out\x1b]0;title\x07")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b" in text


@pytest.mark.parametrize(("share", "text"), [(1.0, " 100.00 %"), (0.999999, " 99.99 %"), (0.5, " 50.00 %")])
def test_a_share_below_all_is_not_shown_as_all(share: float, text: str, document: dict[str, Any]) -> None:
    for row in document["cutoffs"]:
        row["trained_share"] = share
    assert text in stats_text(document, "out")


def test_what_there_is_nothing_of_has_no_section(document: dict[str, Any]) -> None:
    """No estimate without a speed; no table where the text decides about the cut, which is said."""
    text = stats_text(document | {"estimate": None, "cutoffs": []}, "out")
    assert "GPU-hours" not in text
    assert "none for `overlong: split`" in text


@given(st.floats(0, 1))
def test_a_bar_shows_anything_above_nothing(share: float) -> None:
    """Never wider than its column, empty only for nothing."""
    assert len(bar(share)) <= 44
    assert bool(bar(share)) == (share > 0)
