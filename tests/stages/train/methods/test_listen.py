"""Outputs of a model are kept as they come, only those that a loss can be made of, and only while one listens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from stages.train.methods.listen import Listener, answer_means, overheard  # noqa: E402

pytestmark = pytest.mark.train


class Model(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
    def forward(self, log_probs: Any) -> Any:
        return SimpleNamespace(log_probs=log_probs)


def test_a_listener_gives_every_output_and_keeps_the_last_with_log_probabilities() -> None:
    listener = Listener(Model())
    assert [listener(number).log_probs for number in (1, 2, None)] == [1, 2, None]
    assert listener.output.log_probs == 2


def test_a_model_is_overheard_in_the_order_of_its_calls_and_not_after_an_error() -> None:
    model = Model()
    found: list[Any] = []

    def failing() -> None:
        with overheard(model) as heard:
            for number in (1, None, 3):
                model(number)
            found.extend(heard)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        failing()
    assert not model._forward_hooks
    assert [output.log_probs for output in found] == [1, 3]


def test_an_answers_mean_is_over_its_own_tokens_and_0_without_one() -> None:
    log_probs = torch.tensor([[-9.0, -1.0, -3.0], [-9.0, -2.0, -9.0], [-9.0, -9.0, -9.0]])
    mask = torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]])
    assert answer_means(log_probs, mask).tolist() == [-2.0, -2.0, 0.0]


def test_a_mask_of_other_tokens_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        answer_means(torch.zeros(1, 3), torch.ones(1, 3))
