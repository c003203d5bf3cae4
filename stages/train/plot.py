"""Loss and learning-rate curves as PNG files, from the trainer's own history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plot_history(history: Sequence[Mapping[str, Any]], output: Path) -> list[Path]:
    """Draw `training_loss.png`, `training_eval_loss.png` and `training_learning_rate.png`, those that have points;
    returns the files. `history` is `trainer_state.json`'s `log_history`."""
    drawn = []
    for key, name, smooth in (
        ("loss", "training_loss", True),
        ("eval_loss", "training_eval_loss", True),
        ("learning_rate", "training_learning_rate", False),
    ):
        points = [(entry["step"], float(entry[key])) for entry in history if key in entry]
        points = [(step, value) for step, value in points if math.isfinite(value)]
        if len(points) > 1:
            drawn.append(_draw(points, key, output / f"{name}.png", smooth))
    return drawn


def _draw(points: Sequence[tuple[int, float]], label: str, path: Path, smooth: bool) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: it keeps global state and looks for a display
    axes = figure.add_subplot()
    steps = [step for step, _ in points]
    values = [value for _, value in points]
    axes.plot(steps, values, color="#9ec5e8" if smooth else "#1f6fb2", label=label)
    if smooth:
        axes.plot(steps, smoothed(values), color="#1f6fb2", label="smoothed")
        axes.legend()
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    figure.savefig(path)
    return path


def smoothed(values: Sequence[float], share: float = 0.8) -> list[float]:
    """Exponential moving average without the pull of its start: each point is the weighted mean of those before it."""
    out = []
    total = weight = 0.0
    for value in values:
        total = total * share + value * (1 - share)
        weight = weight * share + (1 - share)
        out.append(total / weight)
    return out
