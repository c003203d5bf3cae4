"""A loss names its field in one form, so that losses of one kind can be counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.display import pointer
from stages.formats.losses import ANYWHERE, LOSSES, field_of, loss


@pytest.mark.parametrize(
    ("at", "field"),
    [
        ("/conversations/3/weight", "conversations[].weight"),
        ("/history/0/1", "history[][]"),
        ("/instruction", "instruction"),
        ("", ""),
        ("/0", "0"),  # a key of the record, which is an object
        ("/a~1b/x~0y", "a/b.x~y"),
        ("/messages/²", "messages.²"),  # a digit, but no index
    ],
)
def test_the_field_of_a_pointer_has_no_index(at: str, field: str) -> None:
    assert field_of(at) == field


@given(st.text(alphabet="ab./~", min_size=1, max_size=4), st.integers(0, 99), st.integers(0, 99))
def test_all_places_of_a_list_are_one_field(key: str, one: int, other: int) -> None:
    assert loss("name", pointer(key, one, "x")).field == loss("name", pointer(key, other, "x")).field


def test_what_no_format_carries_is_a_known_loss() -> None:
    assert not ANYWHERE - LOSSES.keys()
    assert {kind.severity for kind in LOSSES.values()} == {"content", "form"}
