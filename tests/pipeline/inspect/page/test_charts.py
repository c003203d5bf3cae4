"""The geometry of bars and curves: everything is inside of the drawing, and what is there can be seen."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inspect.page.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Histogram, bar_width, curve

CUTOFFS = st.lists(st.integers(1, 1 << 20), min_size=2, max_size=12, unique=True).map(sorted)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_what_is_there_has_a_bar(part: int, rest: int) -> None:
    """Between 0 and 100 percent, empty only for nothing, and never too thin to be seen."""
    width = bar_width(part, part + rest)
    assert 0 <= width <= 100
    assert (width >= 0.4) == (part > 0)


@settings(max_examples=40)
@given(CUTOFFS, st.data())
def test_a_curve_stays_inside_of_its_drawing(cutoffs: list[int], data: st.DataObject) -> None:
    """Dots from left to right, higher shares higher up; the grid spans from its base to all."""
    points = [(cutoff, data.draw(st.integers(0, 1000)) / 1000) for cutoff in cutoffs]
    drawn = curve(points, cutoffs[0], "x")
    assert drawn is not None
    assert [dot.x for dot in drawn.dots] == sorted(dot.x for dot in drawn.dots)
    for dot in drawn.dots:
        assert LEFT - 1e-6 <= dot.x <= WIDTH - RIGHT + 1e-6
        assert TOP - 1e-6 <= dot.y <= HEIGHT - BOTTOM + 1e-6
    by_height = sorted(drawn.dots, key=lambda dot: dot.y)
    assert [dot.share for dot in by_height] == sorted((dot.share for dot in drawn.dots), reverse=True)
    assert (drawn.grid[-1].share, drawn.grid[-1].y) == pytest.approx((1, TOP))


def test_one_cutoff_is_no_curve() -> None:
    assert curve([(512, 0.5)], 512, "x") is None
    assert curve([], 512, "x") is None


def test_the_cutoff_in_use_is_marked_and_odd_ones_are_not_named() -> None:
    drawn = curve([(512, 0.5), (700, 0.6), (2048, 1.0)], 700, "x")
    assert drawn is not None
    assert [(dot.name, dot.here) for dot in drawn.dots] == [("512", False), ("", True), ("2k", False)]


def test_an_empty_histogram_has_no_bars() -> None:
    empty, one = Histogram("x", "tokens", []), Histogram("x", "tokens", [[0, 1, 4], [1, 2, 3]])
    assert (empty.most, empty.whole) == (0, 0)
    assert (one.most, one.whole) == (4, 7)
