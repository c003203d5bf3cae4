"""Reward models score the whole conversation, prompt included."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.training import unset_fields

pytestmark = pytest.mark.train
pytest.importorskip("trl")


def test_a_reward_model_reads_the_prompt(make: Any) -> None:
    from stages.train.methods.rm import JoiningCollator

    batch = JoiningCollator(2)([{"prompt_ids": [5, 6], "chosen_ids": [7], "rejected_ids": [8, 9]}])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 2], [5, 6, 8, 9]]


def test_a_row_without_its_prompt_is_an_error_and_not_an_answer_alone() -> None:
    from stages.train.methods.rm import JoiningCollator

    with pytest.raises(KeyError, match="prompt_ids"):
        JoiningCollator(2)([{"chosen_ids": [7], "rejected_ids": [8, 9]}])


def test_all_chosen_answers_come_before_all_rejected_ones() -> None:
    """TRL splits the scores in the middle."""
    from stages.train.methods.rm import JoiningCollator

    rows = [{"prompt_ids": [n], "chosen_ids": [10 + n], "rejected_ids": [20 + n]} for n in (1, 2)]
    assert JoiningCollator(0)(rows)["input_ids"].tolist() == [[1, 11], [2, 12], [1, 21], [2, 22]]


def test_every_field_of_trls_configuration_is_set_by_us() -> None:
    from trl import RewardConfig

    from stages.train.methods import rm

    assert unset_fields(rm.config, RewardConfig) == []
