"""What happens beside the steps: the log file, the lines on the screen, complete checkpoints, and a clean stop.

Loss and learning-rate curves as PNG files, from the trainer's own history.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback

from stages.train.checkpoints import Mark, write_mark
from stages.train.model.card import fill_card
from stages.train.model.tokenizer import settle
from stages.train.monitor.earlier_run import EarlierRun

LOG_FILE = "trainer_log.jsonl"
SILENCE_S = 30.0


class Log(TrainerCallback):  # type: ignore[misc]  # transformers is not followed
    """`trainer_log.jsonl` with LLaMA-Factory's fields, and a line for a person, each time the trainer logs."""

    def __init__(self, output: Path, say: Callable[[str], None], *, perplexity: bool = False) -> None:
        self.perplexity = perplexity
        self.path = output / LOG_FILE
        self.say = say
        self.began = self.spoke = 0.0
        self.first_step = 0
        self.trimmed = False  # of what an earlier run logged; not before a step was taken

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = self.spoke = time.monotonic()
        self.first_step = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A line for the first step, and one whenever the log has been silent for long."""
        self._trim(state)
        now = time.monotonic()
        due = state.global_step == self.first_step + 1 or now - self.spoke >= SILENCE_S
        if not due or control.should_log or not state.is_world_process_zero:
            return
        self.spoke = now
        self.say(f"step {state.global_step}/{state.max_steps}  {_clock(self._left_s(state))} left")

    def _trim(self, state: Any) -> None:
        if self.trimmed or not state.is_world_process_zero:
            return
        self.trimmed = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _keep_until(self.path, self.first_step)

    def _left_s(self, state: Any) -> float:
        done = state.global_step - self.first_step
        elapsed_s = time.monotonic() - self.began
        return elapsed_s / done * (state.max_steps - state.global_step) if done else 0.0

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs or ("loss" not in logs and not evaluations(logs)):
            return
        self.spoke = time.monotonic()
        entry = self._entry(state, logs)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self.say(line(entry, perplexity=self.perplexity))

    def _entry(self, state: Any, logs: dict[str, Any]) -> dict[str, Any]:
        elapsed_s = time.monotonic() - self.began
        entry = {
            "current_steps": state.global_step,
            "total_steps": state.max_steps,
            "loss": _number(logs.get("loss")),
            **{name: _number(logs[name]) for name in evaluations(logs)},
            "reward": _number(logs.get("rewards/margins", logs.get("margin"))),
            "accuracy": _number(logs.get("rewards/accuracies", logs.get("accuracy"))),
            "kl": _number(logs.get("kl")),
            "lr": logs.get("learning_rate"),
            "grad_norm": _number(logs.get("grad_norm")),
            "epoch": round(state.epoch or 0.0, 4),
            "percentage": round(state.global_step / state.max_steps * 100, 2) if state.max_steps else 100.0,
            "elapsed_time": _clock(elapsed_s),
            "remaining_time": _clock(self._left_s(state)),
            "throughput": logs.get("tokens_per_second"),
            "fill_rate": logs.get("fill_rate"),
            "total_tokens": logs.get("tokens_seen"),
            "trained_tokens": logs.get("trained_tokens_seen"),
        }
        return {key: value for key, value in entry.items() if value is not None}


def evaluations(logs: Mapping[str, Any]) -> list[str]:
    """The losses of evaluations among logs: eval_loss, or eval_NAME_loss for each data set (eval_NAME_runtime beside
    it tells it from a part of a loss)."""
    found = [name for name in logs if name.startswith("eval_") and name.endswith("_loss")]
    return [name for name in found if name == "eval_loss" or name.removesuffix("loss") + "runtime" in logs]


def line(entry: dict[str, Any], *, perplexity: bool = False) -> str:
    """One log entry for a person. perplexity: the evaluation losses are means of -log p."""
    words = [f"step {entry['current_steps']}/{entry['total_steps']}"]
    if "loss" in entry:
        words.append(f"loss {_shown(entry['loss'])}")
    for name in [name for name in entry if name.startswith("eval_")]:
        words.append(f"{name.replace('_', ' ') if name == 'eval_loss' else name} {_shown(entry[name])}")
        if perplexity and isinstance(entry[name], float) and entry[name] < 20:
            words.append(f"perplexity {math.exp(entry[name]):.4g}")
    if "accuracy" in entry:
        words.append(f"accuracy {_shown(entry['accuracy'])}")
    if "lr" in entry:
        words.append(f"lr {entry['lr']:.2e}")
    if "throughput" in entry:
        words.append(f"{entry['throughput']:,.0f} tokens/s")
    if entry.get("fill_rate", 1.0) < 1.0:
        words.append(f"batches {entry['fill_rate']:.0%} full")
    words.append(f"{entry['remaining_time']} left")
    return "  ".join(words)


class Checkpoint(TrainerCallback):  # type: ignore[misc]
    """Puts the mark into each checkpoint once all of it is written."""

    def __init__(self, output: Path, now: Mark) -> None:
        self.output = output
        self.now = now
        self.trainer: Any = None

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer is not None:
            self.trainer.count()
        if not args.should_save:
            return
        folder = self.output / f"checkpoint-{state.global_step}"
        if folder.is_dir():
            settle(folder)
            if self.trainer is not None:
                fill_card(folder, self.trainer.job)
            counts = {"tokens_seen": 0, "trained_tokens_seen": 0}
            if self.trainer is not None:
                counts = {"tokens_seen": self.trainer.seen_tokens, "trained_tokens_seen": self.trainer.seen_trained}
            write_mark(folder, Mark(**{**self.now.__dict__, "step": state.global_step, **counts}))


class Replace(TrainerCallback):  # type: ignore[misc]
    """Moves the earlier run aside when the first step begins, and removes it when the first checkpoint is complete.

    Goes after `Checkpoint`, which completes it.
    """

    def __init__(self, output: Path, say: Callable[[str], None]) -> None:
        self.earlier = EarlierRun(output)
        self.say = say
        self.begun = False

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.begun or not state.is_world_process_zero:
            return
        self.begun = True
        if count := self.earlier.set_aside():
            until = "at this run's first checkpoint" if args.save_strategy != "no" else "when this run is done"
            self.say(f"{count} checkpoint(s) of the run before moved to {self.earlier.aside}; they are removed {until}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.should_save:
            self.earlier.forget()


class Preemption(TrainerCallback):  # type: ignore[misc]
    """SIGTERM or Ctrl-C: finish the step, save a checkpoint, stop. `stopped` tells the caller; a second Ctrl-C stops at
    once.

    All processes stop at the same step, whichever of them the signal reached first.
    """

    def __init__(self) -> None:
        self.requested = False
        self.stopped = False
        self.signal = signal.SIGTERM
        self._before: dict[signal.Signals, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        except ValueError:  # not the main thread: whoever runs us keeps the signals
            self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT and self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        self.signal = signal.Signals(number)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._anyone(args):
            self.stopped = True
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _anyone(self, args: Any) -> bool:
        if args.world_size == 1:
            return self.requested
        import torch

        flag = torch.tensor([int(self.requested)], device=args.device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag.item())


def _keep_until(path: Path, step: int) -> None:
    """Drop the lines of an earlier run that lie beyond the step this one starts from."""
    if not path.exists():
        return
    kept = []
    if step:
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(text)["current_steps"] <= step:
                    kept.append(text + "\n")
            except (ValueError, KeyError):
                continue
    path.write_text("".join(kept), encoding="utf-8")


def _number(value: Any) -> float | str | None:
    """JSON has no NaN: a loss that is not finite is written as text."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4f}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))


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
