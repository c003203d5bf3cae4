"""Charts as SVG: bars inside of tables, whose text stays HTML, and curves. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .markup import number, safe, share, table

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 84, 34, 16, 62


def bar(part: float, whole: float, kind: str = "bar") -> str:
    """A horizontal bar that fills its cell; kind: a class of the style sheet."""
    width = 100 * part / whole if whole else 0.0
    width = max(width, 0.4) if part > 0 else 0.0  # what is there can be seen
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="ground" width="100" height="10"/><rect class="{kind}" width="{width:.2f}" height="10"/></svg>'
    )


def stacked(parts: Sequence[tuple[float, str]], whole: float) -> str:
    """Several bars end to end in one cell: (value, class) each."""
    at, drawn = 0.0, ""
    for value, kind in parts:
        width = 100 * value / whole if whole else 0.0
        drawn += f'<rect class="{kind}" x="{at:.2f}" width="{width:.2f}" height="10"/>'
        at += width
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="ground" width="100" height="10"/>{drawn}</svg>'
    )


def histogram(caption: str, unit: str, bins: Sequence[Sequence[int]]) -> str:
    """[from, to (exclusive), how many] as a table of bars."""
    most = max((count for _, _, count in bins), default=0)
    whole = sum(count for _, _, count in bins)
    rows = [
        [
            number(first) if end == first + 1 else f"{number(first)} to {number(end - 1)}",
            bar(count, most),
            number(count),
            share(count, whole),
        ]
        for first, end, count in bins
    ]
    return table([unit, "", "examples", "share"], rows, figures=(0, 2, 3), caption=caption, kind="bars")


def curve(points: Sequence[tuple[int, float]], mark: int, label: str) -> str:
    """Share (0 to 1) over a cutoff on a logarithmic axis; `mark`: the cutoff in use. Text for readers without sight is
    in the table beside it."""
    if len(points) < 2:
        return ""
    least, most = math.log2(points[0][0]), math.log2(points[-1][0])
    floor = min(value for _, value in points)
    base = max(math.floor((floor - 0.02) * 10) / 10, 0.0) if floor < 0.92 else 0.9
    steps = max(round((1 - base) * 10), 1) if base < 0.9 else 5

    def x(cutoff: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log2(cutoff) - least) / (most - least)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value) / (1 - base)

    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{safe(label)}">'
        f"<title>{safe(label)}</title>"
    ]
    for step in range(steps + 1):
        value = base + (1 - base) * step / steps
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(
            f'<text class="axis" x="{LEFT - 8}" y="{y(value) + 5:.1f}" text-anchor="end">{100 * value:.0f} %</text>'
        )
    at = " ".join(f"{x(cutoff):.1f},{y(value):.1f}" for cutoff, value in points)
    bottom = HEIGHT - BOTTOM
    parts.append(f'<polygon class="area" points="{LEFT},{bottom} {at} {WIDTH - RIGHT},{bottom}"/>')
    parts.append(f'<polyline class="line" points="{at}"/>')
    for cutoff, value in points:
        here = " here" if cutoff == mark else ""
        parts.append(
            f'<circle class="dot{here}" cx="{x(cutoff):.1f}" cy="{y(value):.1f}" r="{7 if here else 4.5}">'
            f"<title>{number(cutoff)}: {share(value, 1)}</title></circle>"
        )
        if cutoff & (cutoff - 1) == 0:  # others would stand in the way of the round ones
            text = f"{cutoff >> 10}k" if cutoff >= 1024 else str(cutoff)
            parts.append(f'<text class="axis" x="{x(cutoff):.1f}" y="{bottom + 26}" text-anchor="middle">{text}</text>')
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 5}" text-anchor="middle">cutoff_len</text>'
    )
    return "".join([*parts, "</svg>"])
