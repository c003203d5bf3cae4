"""Repair of the order of turns: each step alone, and where it keeps its hands off."""

from __future__ import annotations

from typing import Any

import pytest

from stages.convert.repair_turns import Repairing, in_order
from stages.formats.table import FORMATS

FIELDS = FORMATS["openai"].default_fields
WORDS = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}


def turns(words: str) -> list[tuple[str, dict[str, Any]]]:
    return [(f"/messages/{at}", {"role": WORDS[word[0]], "content": word[1:]}) for at, word in enumerate(words.split())]


@pytest.mark.parametrize(
    ("given", "expected", "rules"),
    [
        ("u1 a2", "u1 a2", []),
        ("a0 u1 a2", "u1 a2", ["repair.drop-leading-answer"]),
        ("s a0 u1 a2", "s u1 a2", ["repair.drop-leading-answer"]),
        ("u1 a2 u3", "u1 a2", ["repair.drop-trailing-user"]),
        ("u1 u2 a3", "u1\n\n2 a3", ["repair.merge-turns"]),
        ("s1 s2 u3 a4", "s1 s2 u3 a4", []),  # two system prompts are not one
        ("u1 t2 t3 a4", "u1 t2 t3 a4", []),  # OpenAI's results answer a call each
        ("u1", "u1", []),
    ],
)
def test_turns_are_put_in_order(given: str, expected: str, rules: list[str]) -> None:
    """What is dropped and joined, and the notes on it."""
    work = Repairing({}, FIELDS, "openai", "sft")
    kept = in_order(turns(given), work)
    letters = {word: letter for letter, word in WORDS.items()}
    assert " ".join(letters[message["role"]] + message["content"] for _, message in kept) == expected
    assert [note.rule for note in work.notes] == rules


def test_the_copies_of_a_pairs_answers_go() -> None:
    """An answer at the prompt's end that stands beside it is dropped; another one stays."""
    fields = FORMATS["openai-dpo"].default_fields
    answers = [{"role": "assistant", "content": text} for text in "bc"]
    record = {str(fields.chosen): answers[0], str(fields.rejected): answers[1]}
    for last, left in (("ab", 1), ("ax", 2)):
        work = Repairing(record, fields, "openai", "pref")
        assert len(in_order(turns(f"u1 {last}"), work)) == left
