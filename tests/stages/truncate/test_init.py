"""The limit that an example is held to: `cutoff_len`, less what the version and the packing take off."""

from __future__ import annotations

import dataclasses

import pytest

from stages.truncate import CutOptions, example_limit


@pytest.mark.parametrize(
    ("kind", "packed", "compat", "limit"),
    [
        ("lm", False, "llamafactory-0.9.6", 100),
        ("pt", False, "llamafactory-0.9.6", 100),
        ("lm", True, "llamafactory-0.9.6", 99),  # its packs reserve a pad
        ("lm", True, "llamafactory-0.9.2", 100),
    ],
)
def test_an_example_keeps_what_the_version_leaves_it(kind: str, packed: bool, compat: str, limit: int) -> None:
    assert example_limit(100, kind=kind, packed=packed, compat=compat) == limit


def test_a_packed_document_is_not_cut_since_it_runs_on_into_the_next_row() -> None:
    assert example_limit(100, kind="pt", packed=True, compat="llamafactory-0.9.6") > 1 << 29


@pytest.mark.parametrize("kind", ["lm", "pref", "unpaired", "prompt", "pt"])
def test_only_conversations_spend_a_token_on_an_appended_eos(kind: str) -> None:
    assert CutOptions(kind, 100).reserved_tokens == 0
    assert CutOptions(kind, 100, efficient_eos=0).reserved_tokens == (kind == "lm"), "id 0 is an EOS like any other"


def test_options_cannot_change_between_two_chunks() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CutOptions("lm", 100).limit_tokens = 50  # type: ignore[misc]
