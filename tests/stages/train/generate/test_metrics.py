"""Scores are LLaMA-Factory's."""

from __future__ import annotations

import pytest

from stages.train.generate.metrics import shared_ngrams


@pytest.mark.parametrize(
    ("predicted", "label", "one", "two"),
    [  # as rouge-chinese 1.0.3 gives them
        ("the cat sat on the mat the cat", "the cat sat on a mat and the dog", 0.769231, 0.428571),
        ("a b c d e f", "f e d c b a a b c", 1.0, 0.307692),
        ("one", "one", 1.0, 0.0),
        ("one two", "three four", 0.0, 0.0),
        ("", "one", 0.0, 0.0),
    ],
)
def test_rouge_counts_each_ngram_once(predicted: str, label: str, one: float, two: float) -> None:
    words = predicted.split(), label.split()
    assert shared_ngrams(*words, 1) == pytest.approx(one, abs=1e-6)
    assert shared_ngrams(*words, 2) == pytest.approx(two, abs=1e-6)
