"""Hearing what a model answers while a trainer of TRL computes its loss, for the parts of a loss that TRL has not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Listener:
    """Calls a model and keeps its last output that has log-probabilities (`output`)."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.output: Any = None

    def __call__(self, *given: Any, **keywords: Any) -> Any:
        output = self.model(*given, **keywords)
        if getattr(output, "log_probs", None) is not None:
            self.output = output
        return output


@contextmanager
def overheard(model: Any) -> Iterator[list[Any]]:
    """Inside, the outputs of `model` that have log-probabilities, in the order of its calls."""
    heard: list[Any] = []

    def note(_: Any, __: Any, output: Any) -> None:
        if getattr(output, "log_probs", None) is not None:
            heard.append(output)

    hook = model.register_forward_hook(note)
    try:
        yield heard
    finally:
        hook.remove()


def answer_means(log_probs: Any, mask: Any) -> Any:
    """Each answer's mean log-probability a token.

    Args:
        log_probs: Of each token but the first, float, rows x (tokens - 1).
        mask: 1 at the answer's tokens, int or bool, rows x tokens.

    Returns:
        Float, rows; 0 for a row without an answer.
    """
    inside = mask[:, 1:].to(log_probs.device)
    return (log_probs * inside).sum(-1) / inside.sum(-1).clamp(min=1)
