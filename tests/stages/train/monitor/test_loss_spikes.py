"""A loss that jumps names the rows of its batch; ordinary noise names nobody."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.train.monitor.loss_spikes import find_jumps


def steady(count: int, value: float = 2.0) -> deque[float]:
    return deque([value + 0.05 * math.sin(n) for n in range(count)], maxlen=64)


def test_a_jump_names_its_worst_rows_first() -> None:
    jumps = find_jumps(steady(20), [(21, [1, 2], 1.0), (21, [3, 4], 6.0), (22, [5, 6], 2.0)])
    assert [(jump.step, jump.rows) for jump in jumps] == [(21, (3, 4, 1, 2))]
    assert "rows 3, 4, 1, 2" in str(jumps[0])


def test_not_a_number_is_reported_from_the_first_step_on() -> None:
    (jump,) = find_jumps(deque(), [(1, [7], 1.0), (1, [8], math.nan)])
    assert jump.rows == (8,)
    assert "nan" in str(jump)


def test_noise_and_a_slow_rise_are_no_jump() -> None:
    assert find_jumps(steady(20), [(21, [1], 2.2)]) == []
    history = steady(20)
    assert find_jumps(history, [(step, [step], 2.0 + 0.01 * step) for step in range(21, 60)]) == []


def test_a_jump_does_not_become_the_new_normal() -> None:
    history = steady(20)
    assert len(find_jumps(history, [(step, [step], 9.0) for step in range(21, 25)])) == 4


def test_the_first_steps_have_nothing_to_compare_with() -> None:
    assert find_jumps(deque(), [(step, [step], 10.0 / step) for step in range(1, 8)]) == []


def test_many_rows_are_cut_to_a_readable_line() -> None:
    (jump,) = find_jumps(deque(), [(1, list(range(30)), math.inf)])
    assert "and 22 more" in str(jump)


@pytest.mark.train
def test_a_poisoned_row_is_named_while_training(
    run_job: Callable[..., tuple[dict[str, Any], list[str]]], make: Any, tmp_path: Path
) -> None:
    """One row of the data set teaches the opposite of all others: its step stands out, and its number is said."""
    pytest.importorskip("trl")
    rows = make.lm(60)
    poison = [(37 * n) % 800 + 200 for n in range(20)]
    rows[45] = {"input_ids": poison, "labels": poison}
    out = make.out(tmp_path / "out", "lm", {"train": rows})
    _, said = run_job(
        out, tmp_path / "o", disable_shuffling=True, per_device_train_batch_size=1, max_steps=50, learning_rate=1e-2
    )
    assert any(text.startswith("step 46: loss") and "rows 45" in text for text in said)
    log = [json.loads(text) for text in (tmp_path / "o" / "trainer_log.jsonl").read_text().splitlines()]
    assert log[-1]["total_tokens"] == sum(len(row["input_ids"]) for row in rows[:50])
    assert all(entry["fill_rate"] == 1.0 for entry in log)
