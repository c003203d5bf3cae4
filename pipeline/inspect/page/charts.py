"""Charts: the geometry of bars and curves; templates/macros.html and templates/curve.html draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 84, 34, 16, 62


def bar_width(part: float, whole: float) -> float:
    """Percent of its cell that a bar fills; what is there can be seen."""
    width = 100 * part / whole if whole else 0.0
    return max(width, 0.4) if part > 0 else 0.0


@dataclass(frozen=True)
class Histogram:
    """bins: [from, to (exclusive), how many] each, counted in `unit`."""

    caption: str
    unit: str
    bins: Sequence[Sequence[int]]

    @property
    def most(self) -> int:
        """The longest bar."""
        return max((count for _, _, count in self.bins), default=0)

    @property
    def whole(self) -> int:
        """All bars together."""
        return sum(count for _, _, count in self.bins)


@dataclass(frozen=True)
class GridLine:
    """A share on the vertical axis, and its height in the drawing."""

    share: float
    y: float


@dataclass(frozen=True)
class Dot:
    """A cutoff of the curve. name: on the axis, "" where it would stand in the way of the round ones."""

    cutoff: int
    share: float
    x: float
    y: float
    here: bool
    name: str


@dataclass(frozen=True)
class Curve:
    """A share over a logarithmic axis of cutoffs. label: for readers without sight."""

    label: str
    grid: Sequence[GridLine]
    dots: Sequence[Dot]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def curve(points: Sequence[tuple[int, float]], mark: int, label: str) -> Curve | None:
    """The curve of a share over cutoffs.

    Args:
        points: (cutoff, share from 0 to 1), cutoffs ascending.
        mark: The cutoff in use.
        label: For readers without sight.

    Returns:
        Its geometry, None when fewer than two points leave nothing to draw.
    """
    if len(points) < 2:
        return None
    floor = min(value for _, value in points)
    base = max(math.floor((floor - 0.02) * 10) / 10, 0.0) if floor < 0.92 else 0.9
    steps = max(round((1 - base) * 10), 1) if base < 0.9 else 5
    x, y = _axes(points[0][0], points[-1][0], base)
    shares = [base + (1 - base) * step / steps for step in range(steps + 1)]
    return Curve(
        label,
        [GridLine(value, y(value)) for value in shares],
        [Dot(cutoff, value, x(cutoff), y(value), cutoff == mark, _name(cutoff)) for cutoff, value in points],
    )


def _axes(least: int, most: int, base: float) -> tuple[Callable[[int], float], Callable[[float], float]]:
    first, last = math.log2(least), math.log2(most)

    def x(cutoff: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log2(cutoff) - first) / (last - first)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value) / (1 - base)

    return x, y


def _name(cutoff: int) -> str:
    if cutoff & (cutoff - 1):
        return ""
    return f"{cutoff >> 10}k" if cutoff >= 1024 else str(cutoff)
