"""How close generated answers are to the expected ones: BLEU-4 and ROUGE, in percent, averaged over the answers.

As in LLaMA-Factory: BLEU over characters (nltk's sentence_bleu, third smoothing), ROUGE's F over words, which jieba
finds in Chinese as in English. ROUGE-1 and -2 count each n-gram of a text once, as its rouge-chinese does. The
libraries are an extra; without them the answers are written all the same.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from typing import Any

NAMES = ("bleu-4", "rouge-1", "rouge-2", "rouge-l")
LIBRARIES = ("jieba", "nltk", "rouge_score")
_SIZES = {"rouge-1": 1, "rouge-2": 2}


def missing_libraries() -> list[str]:
    """Those of `LIBRARIES` that are not installed."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is None]


def score(predictions: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Mean of each measure in percent (0 to 100), rounded to four places; an empty answer or label scores 0.

    Raises ModuleNotFoundError without the libraries.
    """
    from rouge_score.rouge_scorer import RougeScorer

    words = _Words()
    scorer = RougeScorer(["rougeL"], tokenizer=words)
    sums = dict.fromkeys(NAMES, 0.0)
    for predicted, label in zip(predictions, labels, strict=True):
        if not predicted.strip() or not label.strip():
            continue
        sums["bleu-4"] += _bleu(predicted, label)
        sums["rouge-l"] += scorer.score(label, predicted)["rougeL"].fmeasure
        theirs, ours = words.tokenize(label), words.tokenize(predicted)
        for name, size in _SIZES.items():
            sums[name] += shared_ngrams(ours, theirs, size)
    return {name: round(100 * total / max(len(labels), 1), 4) for name, total in sums.items()}


def shared_ngrams(predicted: Sequence[str], label: Sequence[str], size: int) -> float:
    """F of the n-grams that both have, each counted once; 0 where one has none. predicted, label: words."""
    ours, theirs = (
        {tuple(words[at : at + size]) for at in range(len(words) - size + 1)} for words in (predicted, label)
    )
    return 2 * len(ours & theirs) / (len(ours) + len(theirs)) if ours and theirs else 0.0


def _bleu(predicted: str, label: str) -> float:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    return float(sentence_bleu([list(label)], list(predicted), smoothing_function=SmoothingFunction().method3))


class _Words:
    """The tokenizer that rouge_score wants: jieba's words without the blanks between them."""

    def __init__(self) -> None:
        import jieba

        jieba.setLogLevel(logging.WARNING)
        self._cut: Any = jieba.lcut

    def tokenize(self, text: str) -> list[str]:
        return [word for word in self._cut(text) if word.strip()]


def nested(text: str, separators: str) -> Any:
    """A generated text as lists, one level for each separator: "a;b。c" with "。;" is [["a", "b"], ["c"]].

    Blanks around a piece and empty pieces are dropped; without separators the piece itself is the result.
    """
    if not separators:
        return text.strip()
    pieces = [nested(piece, separators[1:]) for piece in text.split(separators[0])]
    return [piece for piece in pieces if piece]
