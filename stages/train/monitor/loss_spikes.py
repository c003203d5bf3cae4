"""Who was in the batch when the loss jumped, and how fast and how full the batches are.

    step losses  3.1 3.0 2.9 9.7 2.8      jump: above the median of the last steps by far, or not a number
    rows                     ^ 812, 77    the rows of that step with the largest loss, for `prep trace OUT --row N`

Losses and counts stay on the device until the trainer logs, so that watching costs no synchronisation a step.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HISTORY_STEPS = 32
_LEAST_HISTORY = 8
_SHOWN_ROWS = 8


@dataclass(frozen=True)
class Jump:
    """A step whose loss stands out; `rows` are those of its worst micro-batches on this process."""

    step: int
    loss: float
    usual: float
    rows: tuple[int, ...]

    def __str__(self) -> str:
        rows = ", ".join(str(row) for row in self.rows[:_SHOWN_ROWS])
        more = f" and {len(self.rows) - _SHOWN_ROWS} more" if len(self.rows) > _SHOWN_ROWS else ""
        usual = f", usually {self.usual:.3g}" if self.usual else ""
        return f"step {self.step}: loss {self.loss:.4g}{usual}; rows {rows}{more} (see them: prep inspect, prep trace)"


@dataclass
class Counts:
    """Sums over micro-batches: real tokens, token slots with padding, trained tokens, rows."""

    tokens: int = 0
    slots: int = 0
    trained: int = 0
    rows: int = 0


@dataclass
class Watch:
    """What one process has seen since the last log, and the losses of the steps before."""

    history: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY_STEPS))
    _losses: list[tuple[int, Any, Any]] = field(default_factory=list)
    _counts: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, step: int, rows: Any, loss: Any, counts: tuple[Any, ...]) -> None:
        """One micro-batch.

        Args:
            step: The optimizer's step that it belongs to.
            rows: Its row numbers (int64 tensor, [rows]).
            loss: Its share of the step's loss (scalar tensor).
            counts: What `batch_counts` gives.
        """
        self._losses.append((step, rows, loss))
        self._counts.append(counts)

    def drain(self) -> tuple[Counts, list[Jump]]:
        """The counts since the last call and the jumps among the finished steps."""
        counts = Counts()
        for tokens, slots, trained, rows in self._counts:
            counts.tokens += int(tokens)
            counts.slots += int(slots)
            counts.trained += int(trained)
            counts.rows += int(rows)
        losses = [(step, rows.tolist(), float(loss)) for step, rows, loss in self._losses]
        self._counts.clear()
        self._losses.clear()
        return counts, find_jumps(self.history, losses)


def find_jumps(history: deque[float], losses: Sequence[tuple[int, list[int], float]]) -> list[Jump]:
    """The steps of `losses` (step, rows, share of the step's loss; in step order) that stand out from `history`, which
    takes up the ordinary ones.

    A jump is not finite, or above the median of the last eight steps by a quarter and by six times the usual change
    from step to step (which, unlike a spread around the mean, does not grow while the loss falls).
    """
    steps: dict[int, list[tuple[float, list[int]]]] = {}
    for step, rows, loss in losses:
        steps.setdefault(step, []).append((loss, rows))
    jumps = []
    for step, parts in steps.items():
        total = sum(loss for loss, _ in parts)
        usual = statistics.median(list(history)[-_LEAST_HISTORY:]) if history else 0.0
        if not math.isfinite(total):
            bad = [row for loss, rows in parts if not math.isfinite(loss) for row in rows]
            jumps.append(Jump(step, total, usual, tuple(bad)))
            continue
        if len(history) >= _LEAST_HISTORY:
            change = statistics.median(abs(b - a) for a, b in itertools.pairwise(history))
            if total > usual + max(6 * change, 0.25 * abs(usual), 1e-3):
                worst = sorted(parts, key=lambda part: -part[0])
                jumps.append(Jump(step, total, usual, tuple(row for _, rows in worst for row in rows)))
                continue
        history.append(total)
    return jumps


def batch_counts(batch: Mapping[str, Any]) -> tuple[Any, ...]:
    """(real tokens, slots, trained tokens, rows) of a collated batch, as tensors or ints, without synchronising."""
    tokens: Any = 0
    slots = 0
    trained: Any = 0
    for name, value in batch.items():
        if name.startswith("KL_"):  # the same answers once more
            continue
        if name.endswith("input_ids"):
            slots += value.numel()
            mask = batch.get(name.replace("input_ids", "attention_mask"))
            tokens = tokens + (value.numel() if mask is None else mask.sum())
        elif name.endswith("labels"):
            trained = trained + (value != -100).sum()
        elif name.endswith("completion_mask"):
            trained = trained + value.sum()
    return tokens, slots, trained, len(batch.get("rows", ()))
