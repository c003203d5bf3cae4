"""Sets of examples to pack."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def sets(draw: st.DrawFn) -> tuple[list[int], int]:
    """Lengths and a limit that holds each of them."""
    limit = draw(st.integers(1, 40))
    return draw(st.lists(st.integers(0, limit), max_size=60)), limit
