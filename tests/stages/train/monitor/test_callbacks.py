"""Curves from a history: one picture for each measure that has points."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.train.monitor.callbacks import plot_history, smoothed


@pytest.mark.train
def test_only_measures_with_points_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    history = [{"step": n, "loss": 3.0 / n, "learning_rate": 0.1} for n in range(1, 9)]
    history[3]["loss"] = math.nan
    assert [path.name for path in plot_history(history, tmp_path)] == [
        "training_loss.png",
        "training_learning_rate.png",
    ]
    assert plot_history(history[:1], tmp_path) == []


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_smoothing_stays_inside_what_was_seen(values: list[float]) -> None:
    out = smoothed(values)
    assert out[0] == pytest.approx(values[0])
    assert len(out) == len(values)
    assert min(values) - 1e-9 <= min(out)
    assert max(out) <= max(values) + 1e-9


def test_the_first_step_and_long_silences_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from stages.train.monitor import callbacks

    clock = [100.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: clock[0])
    said: list[str] = []
    log = callbacks.Log(tmp_path, said.append)
    state = SimpleNamespace(global_step=0, max_steps=10, is_world_process_zero=True)
    control = SimpleNamespace(should_log=False)
    log.on_train_begin(None, state, control)
    for step, at in ((1, 102.0), (2, 104.0), (3, 140.0), (4, 141.0)):
        state.global_step, clock[0] = step, at
        log.on_step_end(None, state, control)
    assert said == ["step 1/10  0:00:18 left", "step 3/10  0:01:33 left"]
    control.should_log = True
    clock[0] = 500.0
    log.on_step_end(None, state, control)
    assert len(said) == 2, "a line of the log follows at once"
