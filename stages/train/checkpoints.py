"""Which checkpoint a run may go on from.

Each checkpoint gets `prep_checkpoint.json` as its last file: a folder without it was cut short while it was written.
It says which data, how many processes and which ZeRO settings made the checkpoint, because nothing else does: a
trainer resumes without a word on changed data, or from a checkpoint that has no optimizer.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import UsageFault

from .job import TrainJob

MARK = "prep_checkpoint.json"


@dataclass(frozen=True)
class Mark:
    """What a checkpoint was made from. `data` is the manifest's digest; `processes` the world size; counts are sums
    over all processes since the first step; optimizer and schedule: the settings of both that a user can change."""

    step: int
    data: str
    processes: int
    zero_stage: int = 0
    round_robin: bool = False
    rows_a_step: int = 0
    tokens_seen: int = 0
    trained_tokens_seen: int = 0
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)


def write_mark(folder: Path, mark: Mark) -> None:
    """Complete a checkpoint."""
    temporary = folder / (MARK + ".tmp")
    temporary.write_text(json.dumps(asdict(mark), indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / MARK)


def read_mark(folder: Path) -> Mark | None:
    """The checkpoint's mark, or None when it has none that can be read."""
    try:
        body = json.loads((folder / MARK).read_bytes())
        return Mark(**body)
    except (OSError, ValueError, TypeError):
        return None


def checkpoints(output: Path) -> list[Path]:
    """The complete checkpoints of a run, by step."""
    found = []
    for folder in output.glob("checkpoint-*"):
        match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
        if match and read_mark(folder) is not None:
            found.append((int(match.group(1)), folder))
    return [folder for _, folder in sorted(found)]


def starting_point(job: TrainJob, now: Mark, deepspeed: dict[str, Any] | None, notes: list[str]) -> Path | None:
    """The checkpoint to resume from, or None for a fresh start.

    As in LLaMA-Factory an output folder with checkpoints is resumed unless `overwrite_output_dir`; one that holds a
    finished model and no checkpoint is refused.

    Args:
        job: The run; `resume` names a checkpoint, "last", or None.
        now: What this run is made from; its step is not read.
        deepspeed: The engine's configuration, None without it.
        notes: Takes what the user should know of the choice.

    Raises:
        UsageFault: Every reason why the checkpoint cannot go on exactly.
    """
    output = Path(job.run.output_dir)
    requested = job.run.resume
    if requested is None:
        found = checkpoints(output)
        if found and not job.run.overwrite:
            notes.append(f"{output} has checkpoints: going on from {found[-1].name} (overwrite_output_dir starts anew)")
            requested = str(found[-1])
        elif not job.run.overwrite and holds_a_model(output):
            raise UsageFault(
                f"output_dir: {output} holds a finished model", hint="choose another, or set overwrite_output_dir: true"
            )
        else:
            return None
    if requested == "last":
        found = checkpoints(output)
        if not found:
            raise UsageFault(f"resume_from_checkpoint: no complete checkpoint in {output}")
        requested = str(found[-1])
    folder = Path(requested)
    problems = _refusals(folder, now, deepspeed)
    if problems:
        raise UsageFault(
            [f"resume_from_checkpoint: {folder}: {problem}" for problem in problems],
            hint="to start from its weights instead, give it as model_name_or_path (or adapter_name_or_path)",
        )
    mark = read_mark(folder)
    if mark is not None:
        notes += _changed(mark, now)
    if mark is not None and mark.rows_a_step != now.rows_a_step:
        notes.append(
            f"resuming with {now.rows_a_step} rows a step where the checkpoint had {mark.rows_a_step}: "
            "the steps ahead see other rows"
        )
    return folder


def _changed(before: Mark, now: Mark) -> list[str]:
    """A line for each setting that a resume does not take up as a user may expect."""
    lines = []
    for name, value in now.optimizer.items():
        old = before.optimizer.get(name, value)
        if old != value:
            lines.append(
                f"{name} is {value} here and {old} in the checkpoint: the checkpoint's goes on; to change it, start "
                "from the checkpoint's weights (model_name_or_path or adapter_name_or_path)"
            )
    for name, value in now.schedule.items():
        old = before.schedule.get(name, value)
        if old != value:
            lines.append(
                f"{name} is {value} here and {old} in the checkpoint: the learning rate follows the new schedule from "
                f"step {before.step} on, which is not where the old one was"
            )
    return lines


def _refusals(folder: Path, now: Mark, deepspeed: dict[str, Any] | None) -> list[str]:
    if not folder.is_dir():
        return ["no such folder"]
    mark = read_mark(folder)
    if mark is None:
        return [f"it has no {MARK}, so it was cut short while it was written, or another program wrote it"]
    problems = []
    universal = bool((deepspeed or {}).get("checkpoint", {}).get("load_universal"))
    if mark.data != now.data:
        problems.append("the data has changed since (the manifests differ), so its place in the data means nothing")
    if not _has_optimizer(folder):
        problems.append("it holds the model alone (save_only_model): optimizer and schedule would start from nothing")
    if universal and mark.zero_stage == 2 and mark.round_robin:
        problems.append(
            "ZeRO-2 with round_robin_gradients: true cannot be converted to a universal checkpoint: "
            "the wrong weights would be loaded without a word"
        )
    elif not universal and mark.zero_stage and mark.processes != now.processes:
        problems.append(
            f"ZeRO-{mark.zero_stage} with {mark.processes} processes cannot go on with {now.processes}; "
            "convert it first (python -m deepspeed.checkpoint.ds_to_universal) and set checkpoint.load_universal"
        )
    if mark.zero_stage != now.zero_stage:
        problems.append(f"it was made with ZeRO stage {mark.zero_stage}, this run uses {now.zero_stage}")
    return problems


def _has_optimizer(folder: Path) -> bool:
    names = {path.name for path in folder.iterdir()}
    return (
        bool(names & {"optimizer.pt", "optimizer.bin", "latest", "latest_universal"})
        or any(name.startswith("optimizer_") for name in names)
        or any(name.startswith("global_step") for name in names)
    )


def holds_a_model(output: Path) -> bool:
    """Whether a finished model or adapter lies in the folder."""
    patterns = ("*.safetensors", "*.bin")
    return any(next(output.glob(pattern), None) for pattern in patterns)
