"""Measures are 100 for equal texts, 0 for nothing, and lists are taken apart level by level."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.train.generate import metrics
from stages.train.generate.metrics import nested, shared_ngrams


def test_measures_are_100_for_equal_texts_and_0_for_nothing() -> None:
    pytest.importorskip("jieba")
    pytest.importorskip("rouge_score")
    from stages.train.generate.metrics import score

    equal = score(["今天天气很好", "a b c d e"], ["今天天气很好", "a b c d e"])
    assert equal == {"bleu-4": 100.0, "rouge-1": 100.0, "rouge-2": 100.0, "rouge-l": 100.0}
    assert set(score(["", "x"], ["x", " "]).values()) == {0.0}
    close = score(["我们今天去公园散步"], ["我们今天去公园吃饭"])
    assert 0 < close["rouge-2"] < close["rouge-1"] < 100


@pytest.mark.parametrize(
    ("text", "separators", "lists"),
    [
        ("开灯;客厅。关窗;卧室。", "。;", [["开灯", "客厅"], ["关窗", "卧室"]]),
        ("a。b", "。;；", [[["a"]], [["b"]]]),
        ("one, two ,,three", ",", ["one", "two", "three"]),
        ("as it is ", "", "as it is"),
        ("", "。", []),
    ],
)
def test_split_turns_an_answer_into_lists(text: str, separators: str, lists: Any) -> None:
    assert nested(text, separators) == lists


@given(st.lists(st.lists(st.text("abc ", min_size=1).filter(str.strip).map(str.strip), min_size=1), min_size=1))
def test_lists_that_were_joined_come_apart_again(lists: list[list[str]]) -> None:
    assert nested("。".join(";".join(each) for each in lists), "。;") == lists


def test_libraries_that_are_not_installed_are_named_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"nltk"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in there else None)
    assert metrics.missing_libraries() == ["jieba", "rouge_score"]


def test_answers_and_labels_of_different_number_are_an_error() -> None:
    pytest.importorskip("rouge_score")
    pytest.importorskip("jieba")
    with pytest.raises(ValueError, match="shorter"):
        metrics.score(["a", "b"], ["a"])


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
