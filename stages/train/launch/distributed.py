"""Several processes as one run: who goes first, what DeepSpeed needs on a CPU, and its configuration.

    deepspeed: z2                      ours, shipped beside this module
    deepspeed: path/to/ds_config.json  the user's, as it is
    deepspeed: examples/deepspeed/ds_z2_config.json  LLaMA-Factory's name without its file: ours of the same kind

Ours differ from LLaMA-Factory's in one value: `round_robin_gradients` is false, because a ZeRO-2 checkpoint written
with it cannot be converted to another number of processes (it loads wrong weights without a word).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from registry.errors import UsageFault, did_you_mean

from .torchrun import is_worker, rank

NAMES = ("z0", "z1", "z2", "z2_offload", "z3", "z3_offload")


def deepspeed_config(given: str | dict[str, object] | None, notes: list[str]) -> dict[str, Any] | None:
    """The configuration as a mapping, None when DeepSpeed is not requested. Raises UsageFault when it is not found or
    is no JSON object."""
    if given is None or isinstance(given, dict):
        return given
    if given in NAMES:
        return _shipped(given)
    path = Path(given)
    if not path.is_file():
        match = re.fullmatch(r"ds_(z0|z2|z3)(_offload)?_config\.json", path.name)
        name = "".join(part or "" for part in match.groups()) if match else ""
        if name not in NAMES:
            raise UsageFault(f"deepspeed: no file {given}{did_you_mean(given, NAMES)}; ours are {', '.join(NAMES)}")
        notes.append(f"deepspeed: {given} is not here, our own {name} is used")
        return _shipped(name)
    try:
        body = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise UsageFault(f"deepspeed: {given} cannot be read: {error}") from None
    if not isinstance(body, dict):
        raise UsageFault(f"deepspeed: {given} is not a JSON object")
    return body


def zero_stage(config: dict[str, Any] | None) -> int:
    """The ZeRO stage of a configuration, 0 when there is none."""
    return int((config or {}).get("zero_optimization", {}).get("stage", 0))


def _shipped(name: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath("deepspeed", f"{name}.json").read_text("utf-8")
    return dict(json.loads(text))


Result = TypeVar("Result")


def before_torch() -> None:
    """Settings that are read when torch is loaded.

    Threads that have nothing to do sleep instead of spinning: on a busy machine spinning costs three quarters of the
    speed, on an idle one nothing is lost.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def quiet_libraries(*, on_cpu: bool) -> None:
    """Before TRL and DeepSpeed are imported: nothing is sent anywhere, and no advice is printed that speaks to somebody
    who calls those libraries by hand."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    if on_cpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed looks for one, and warns, wherever it is installed
    if not sys.stderr.isatty():
        import transformers

        transformers.utils.logging.disable_progress_bar()
    # TRL still says gradient_checkpointing where transformers now says activation_checkpointing
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)
    # torch renames its collectives, and DeepSpeed calls them by their old names in every step
    warnings.filterwarnings("ignore", message=r".*torch\.distributed\.\w+. is deprecated", category=FutureWarning)
    # rows go one at a time on purpose where there is no flash attention
    logging.getLogger("trl.trainer.sft_trainer").addFilter(_worth_reading)
    for handler in logging.getLogger("transformers").handlers:
        handler.addFilter(_worth_reading)


_NOT_WORTH_READING = (
    "batch size of 1 with padding-free training",
    "batch size of 1 annihilate",
    "has new PAD/BOS/EOS tokens",  # the template's end token, which is meant
)


def _worth_reading(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return not any(words in text for words in _NOT_WORTH_READING)


def start_processes(*, on_cpu: bool, deepspeed: bool, timeout_s: int = 1800) -> None:
    """Open the process group when a launcher started us. Must come before the model is loaded, and says to accelerate
    and DeepSpeed from the start that they will work together.

    Args:
        on_cpu: Whether the run stays on the CPU (gloo).
        deepspeed: Whether DeepSpeed is used.
        timeout_s: How long one process waits for the others.
    """
    if deepspeed and on_cpu:
        _deepspeed_on_cpu(timeout_s)
    if not is_worker(os.environ):
        return
    from accelerate import PartialState

    flag = "ACCELERATE_USE_DEEPSPEED"
    if deepspeed and not on_cpu:
        os.environ[flag] = "true"
    try:
        PartialState(cpu=on_cpu, timeout=timedelta(seconds=timeout_s))
    finally:
        os.environ.pop(flag, None)


def _deepspeed_on_cpu(timeout_s: int) -> None:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    # its shared-memory collectives would be compiled at run time, with a compiler that may not be there
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # with use_cpu the trainer opens torch.distributed alone, and ZeRO-3 then counts one process
    deepspeed.init_distributed(dist_backend="gloo", timeout=timedelta(seconds=timeout_s), verbose=False)


def in_turn(
    work: Callable[[], Result], *, on_cpu: bool, deepspeed: bool, shared_files: bool = True, timeout_s: int = 1800
) -> Result:
    """Run `work` on the first process, then on the others, which find it done.

    Args:
        work: What to do; its result is returned.
        on_cpu: Whether the run stays on the CPU (gloo).
        deepspeed: Whether DeepSpeed is used.
        shared_files: False when each node has a disk of its own, so that one process of every node goes first.
        timeout_s: How long one process waits for the others.
    """
    if not is_worker(os.environ):
        return work()
    from accelerate import PartialState

    start_processes(on_cpu=on_cpu, deepspeed=deepspeed, timeout_s=timeout_s)
    state = PartialState()
    first = state.main_process_first if shared_files else state.local_main_process_first
    with first():
        return work()


def process_count() -> int:
    """How many processes make up this run."""
    return int(os.environ.get("WORLD_SIZE", "1")) if is_worker(os.environ) else 1


def process_number() -> int:
    """This process's number among them, from 0."""
    return rank(os.environ) if is_worker(os.environ) else 0


def is_first() -> bool:
    """Whether this process writes the files and logs."""
    return process_number() == 0


def everyone_here() -> None:
    """Wait until all processes have come to this line."""
    if process_count() > 1:
        import torch

        if torch.distributed.is_initialized():
            torch.distributed.barrier()


def leave() -> None:
    """Close the process group, so that no process ends with a warning about it."""
    if process_count() > 1:
        import torch

        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def go_on_alone() -> None:
    """After a run of several processes: what the first one does next, it does by itself."""
    if not is_worker(os.environ):
        return
    from accelerate.state import AcceleratorState

    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        os.environ.pop(name, None)
    AcceleratorState._reset_state(reset_partial_state=True)
    # or the next model would be loaded split for an engine that is gone
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
