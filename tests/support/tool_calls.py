"""Any tool calls that a record can hold, as a Hypothesis strategy."""

from __future__ import annotations

from hypothesis import strategies as st

from stages.core.conversation import ToolCall

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
tool_calls = st.lists(
    st.builds(
        ToolCall, st.text("abc_", min_size=1, max_size=6), st.dictionaries(st.text(max_size=5), json_values, max_size=3)
    ),
    min_size=1,
    max_size=3,
)
