"""What a template added to a record or took from it is named in one order."""

from __future__ import annotations

import itertools

import pytest

from stages.core.segments import TRAITS, template_traits


@pytest.mark.parametrize("found", list(itertools.product([False, True], repeat=len(TRAITS))))
def test_exactly_the_traits_that_were_found_are_named(found: tuple[bool, ...]) -> None:
    names = template_traits(*found)
    assert [name in names for name in TRAITS] == list(found)
    assert list(names) == sorted(names, key=TRAITS.index)


def test_a_trait_too_many_or_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        template_traits(True)
    with pytest.raises(ValueError, match="longer"):
        template_traits(*[True] * (len(TRAITS) + 1))
