"""An overlong conversation becomes several examples between its turns; no turn is lost, none stands twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.core.conversation import Conversation, Message
from stages.core.findings import Note
from stages.core.records import Record
from stages.core.segments import Kept, Rendered
from stages.tokenize.batch import encode
from stages.truncate import CutOptions
from stages.truncate.split_turns import group_turns, split_overlong


@pytest.mark.parametrize(
    ("turns", "opening", "limit", "groups"),
    [
        ([40, 30, 50, 20], 20, 100, [(0, 2), (2, 4)]),  # the drawing
        ([10, 10], 0, 20, [(0, 2)]),
        ([10, 11], 0, 20, [(0, 1), (1, 2)]),
        ([50, 5, 5], 0, 20, [(0, 1), (1, 3)]),
        ([5, 50, 5], 0, 20, [(0, 1), (1, 2), (2, 3)]),
        ([5, 5], 30, 20, [(0, 1), (1, 2)]),
    ],
)
def test_turns_are_taken_while_they_fit(
    turns: list[int], opening: int, limit: int, groups: list[tuple[int, int]]
) -> None:
    assert group_turns(turns, opening, limit) == groups


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 10), st.integers(1, 60))
def test_groups_hold_every_turn_once_and_only_a_single_turn_may_be_too_long(
    turns: list[int], opening: int, limit: int
) -> None:
    groups = group_turns(turns, opening, limit)
    assert [turn for start, end in groups for turn in range(start, end)] == list(range(len(turns)))
    sizes = [opening + sum(turns[start:end]) for start, end in groups]
    assert all(size <= limit or end - start == 1 for size, (start, end) in zip(sizes, groups, strict=True))
    for size, (_, following) in zip(sizes, pairwise([start for start, _ in [*groups, (-1, -1)]]), strict=True):
        assert following < 0 or size + turns[following] > limit, "a group ends only where the next turn does not fit"


class Letters:
    """A token for each character."""

    def encode(self, texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        ids = np.asarray([ord(char) for text in texts for char in text], dtype=np.int32)
        return ids, np.cumsum([0, *map(len, texts)], dtype=np.int64)


class Writer:
    """Writes the system prompt, then the turns; refuses a text that holds "no"."""

    def render(self, record: Conversation, notes: list[Note]) -> Rendered | None:
        texts = [message.content for message in record.messages]
        if any("no" in text for text in texts):
            notes.append(Note("template.refused", "", "no"))
            return None
        segments: list[list[str | int]] = [[text] for text in texts]
        segments[0].insert(0, record.system or "")
        return Rendered(segments, [0, 1] * (len(texts) // 2))


def split(
    limit: int, *talks: list[str], fast: bool = False, unordered: bool = False
) -> tuple[list[list[str]], list[int]]:
    """The texts of each example, and how many examples each record became."""
    kept: list[Kept] = []
    for number, texts in enumerate(talks):
        roles = ("user", "user") if unordered else ("user", "assistant")
        talk = Conversation(tuple(Message(roles[at % 2], text) for at, text in enumerate(texts)), system="sys")
        segments: list[list[str | int]] = [["sys", texts[0]], *([text] for text in texts[1:])]
        plain = Rendered(segments, [0, 1] * (len(texts) // 2))
        kept.append((Record(b"", number + 1, number, 0), None if fast else talk, plain))
    encoded = encode([rendered for _, _, rendered in kept], Letters())  # type: ignore[arg-type]
    parts, counts = split_overlong(kept, encoded, Writer(), Letters(), CutOptions("lm", limit))  # type: ignore[arg-type]
    return [["".join(map(str, segment)) for segment in rendered.segments] for _, _, rendered in parts], counts.tolist()


def test_every_example_begins_with_the_system_prompt() -> None:
    texts, counts = split(12, ["uu", "aa", "uu", "aa", "uuu", "aaa"], ["u", "a"])
    assert texts == [["sysuu", "aa", "uu", "aa"], ["sysuuu", "aaa"], ["sysu", "a"]]
    assert counts == [2, 1]


def test_a_single_turn_that_is_too_long_is_left_to_the_cut() -> None:
    assert split(5, ["uuuuuu", "aaaaaa"]) == ([["sysuuuuuu", "aaaaaa"]], [1])


def test_what_the_template_refuses_to_write_in_parts_stays_whole() -> None:
    texts = ["uu", "aa", "no", "aa"]
    assert split(6, texts) == ([["sysuu", "aa", "no", "aa"]], [1])


def test_a_record_of_the_fast_path_has_no_turns_to_split() -> None:
    assert split(6, ["uu", "aa", "uu", "aa"], fast=True) == ([["sysuu", "aa", "uu", "aa"]], [1])


def test_turns_that_do_not_alternate_stay_together() -> None:
    """The tokenizer's own chat template may take them in any order."""
    assert split(6, ["uu", "aa", "uu", "aa"], unordered=True) == ([["sysuu", "aa", "uu", "aa"]], [1])
