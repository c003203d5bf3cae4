"""What this machine can do for a run, and what a config requests that it cannot.

A key that only means something on a GPU is downgraded with a sentence where the result is the same training, only
slower (bf16 on a CPU, flash attention, Liger kernels); what would change the training, or what needs a package that is
not here, is a MachineFault with the line that installs it.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import MachineFault, UsageFault, did_you_mean

from .job import TrainJob

GIB = 1 << 30

_REPORTERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
    "swanlab": ("swanlab",),
    "comet_ml": ("comet_ml",),
    "clearml": ("clearml",),
    "azure_ml": ("azureml",),
    "codecarbon": ("codecarbon",),
    "dagshub": ("dagshub",),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "neptune": ("neptune",),
}
_OTHER_REPORTERS = ("all", "kubeflow")


@dataclass(frozen=True)
class Precision:
    """The number formats of a run: `bf16`/`fp16` are the trainer's mixed precision, `weights` the dtype that the model
    is loaded in, by torch's name."""

    bf16: bool
    fp16: bool
    weights: str


@dataclass(frozen=True)
class Machine:
    """`device` is cuda, xpu, npu, mps or cpu; `bf16` whether it computes in bfloat16."""

    device: str
    bf16: bool

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu"


def machine(use_cpu: bool) -> Machine:
    """The machine that a worker runs on. Imports torch."""
    import torch

    if not use_cpu:
        if torch.cuda.is_available():
            # not is_bf16_supported: it counts emulation, and puts every process's first context on device 0
            return Machine("cuda", bool(torch.version.hip) or torch.cuda.get_device_capability()[0] >= 8)
        for name in ("xpu", "npu"):
            module = getattr(torch, name, None)
            if module is not None and module.is_available():
                return Machine(name, True)
        if torch.backends.mps.is_available():
            return Machine("mps", False)
    return Machine("cpu", True)


def precision(job: TrainJob, here: Machine, notes: list[str]) -> Precision:
    """The run's number formats.

    Full and freeze training keeps its weights in float32 under mixed precision (bfloat16 alone loses small updates);
    LoRA's frozen base, DeepSpeed's working copy and `pure_bf16` are loaded in the format of 16 bits.

    Args:
        job: The run.
        here: The machine.
        notes: Takes what was turned off.

    Raises:
        MachineFault: bf16 on a GPU that does not compute in it.
    """
    requested = {name: job.flag(name) for name in ("bf16", "fp16")}
    if here.on_cpu or here.device == "mps":
        dropped = [name for name, on in {**requested, "pure_bf16": job.model.pure_bf16}.items() if on]
        if dropped:
            notes.append(f"{', '.join(dropped)} off: no GPU here, so this runs in float32")
        return Precision(False, False, "float32")
    bf16 = requested["bf16"] or job.model.pure_bf16
    if bf16 and not here.bf16:
        raise MachineFault("bf16: this GPU does not compute in bfloat16", hint="set bf16: false and fp16: true")
    short = "bfloat16" if bf16 else "float16" if requested["fp16"] else "float32"
    frozen_base = job.tuning.adapter or job.model.pure_bf16 or job.run.deepspeed is not None
    # fp16 weights cannot be trained under a gradient scaler, so only frozen ones are loaded so
    weights = short if frozen_base and (short != "float16" or job.tuning.adapter) else "float32"
    return Precision(bf16 and not job.model.pure_bf16, requested["fp16"] and not bf16, weights)


def attention(job: TrainJob, here: Machine, notes: list[str]) -> str:
    """transformers' name of the attention back end; "" lets it choose."""
    requested = job.model.attention
    if not requested.startswith("flash_attention"):
        return requested
    if here.device != "cuda":
        notes.append(f"{requested}: no GPU here, sdpa is used instead")
        return "sdpa"
    package = "flash_attn" if requested.endswith("2") else "flash_attn_interface"
    if not _has(package) and not _has("kernels"):
        notes.append(f"{requested}: neither {package} nor kernels is installed, sdpa is used instead")
        return "sdpa"
    return requested


def liger(job: TrainJob, here: Machine, notes: list[str]) -> bool:
    """Whether Liger's layer kernels are used."""
    if not job.flag("use_liger_kernel"):
        return False
    if here.device != "cuda":
        notes.append("use_liger_kernel off: its kernels need a GPU")
        return False
    require({"liger_kernel": "liger-kernel"}, "use_liger_kernel")
    return True


def reporters(arguments: Mapping[str, object]) -> list[str]:
    """`report_to` as a list, with every package that it needs here."""
    given = arguments.get("report_to")
    names = [str(name) for name in given] if isinstance(given, (list, tuple)) else str(given or "none").split(",")
    wanted = [name.strip() for name in names if name.strip() not in ("", "none", "None")]
    for name in wanted:
        if name not in _REPORTERS and name not in _OTHER_REPORTERS:
            known = [*_REPORTERS, *_OTHER_REPORTERS]
            raise UsageFault(f'report_to: there is no panel "{name}"{did_you_mean(name, known)}')
        packages = _REPORTERS.get(name, ())
        if packages and not any(_has(package) for package in packages):
            raise MachineFault(f"report_to: {name} is not installed", hint=f"pip install {packages[0]}")
    return wanted


def require(packages: Mapping[str, str], key: str) -> None:
    """Raises MachineFault unless every module of `packages` (module -> name on PyPI) is installed."""
    missing = [name for module, name in packages.items() if not _has(module)]
    if missing:
        raise MachineFault(f"{key}: {', '.join(missing)} is not installed", hint=f"pip install {' '.join(missing)}")


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def check_disk(folder: Path, model: Footprint, job: TrainJob, notes: list[str]) -> None:
    """Compare the free space with what the run will write.

    A checkpoint holds the saved weights (the adapter alone for LoRA) and, unless `save_only_model`, two float32 moments
    and a float32 copy of what is trained.

    Args:
        folder: Where the run writes.
        model: The model's size.
        job: The run.
        notes: Takes a note when all checkpoints that will be kept do not fit.

    Raises:
        MachineFault: Not even one fits.
    """
    saved = model.weight_bytes * (model.trained / max(model.parameters, 1) if job.tuning.adapter else 1.0)
    state = 0 if job.flag("save_only_model") else 12 * model.trained
    one = saved + state
    free = shutil.disk_usage(folder).free
    if free < one:
        raise MachineFault(
            f"{folder}: {free / GIB:.1f} GiB free, one checkpoint needs about {one / GIB:.1f} GiB",
            hint="free some space, choose another output_dir, or set save_only_model: true",
        )
    limit = job.arguments.get("save_total_limit")
    if job.arguments["save_strategy"] != "no" and not limit and free < 5 * one:
        notes.append(
            f"{folder} has {free / GIB:.1f} GiB free and each checkpoint takes about {one / GIB:.1f} GiB: "
            "set save_total_limit"
        )


@dataclass(frozen=True)
class Footprint:
    """A model's parameters: how many, how many of them trained, and the bytes of all of them."""

    parameters: int
    trained: int
    weight_bytes: int

    def state_bytes(self, *, half_precision: bool, zero_stage: int, processes: int) -> int:
        """Bytes a process needs for weights, gradients and Adam's state; activations come on top.

        Args:
            half_precision: Training in bf16/fp16, which keeps a float32 copy of what is trained.
            zero_stage: What DeepSpeed splits over the processes: 1 the optimizer's state, 2 the gradients too, 3 the
                weights too.
            processes: How many there are.
        """
        gradients = self.trained * (2 if half_precision else 4)
        optimizer = self.trained * (12 if half_precision else 8)
        split = [part / processes for part in (optimizer, gradients, self.weight_bytes)]
        whole = [optimizer, gradients, self.weight_bytes]
        return int(sum(split[:zero_stage]) + sum(whole[zero_stage:]))


def footprint(model: Any) -> Footprint:
    """The footprint of a torch model, ZeRO-3's split weights counted whole."""
    every = trained = size = 0
    for parameter in model.parameters():
        count = int(getattr(parameter, "ds_numel", 0) or parameter.numel())
        every += count
        size += count * parameter.element_size()
        trained += count if parameter.requires_grad else 0
    return Footprint(every, trained, size)


def check_memory(needed_bytes: int, here: Machine, processes_here: int, notes: list[str]) -> None:
    """A note when weights, gradients and optimizer alone are more than what is free for this process.

    Args:
        needed_bytes: What one process needs.
        here: The machine.
        processes_here: How many processes share it.
        notes: Takes the note.
    """
    free = free_memory(here, processes_here)
    if free and needed_bytes > free:
        notes.append(
            f"weights, gradients and optimizer need about {needed_bytes / GIB:.1f} GiB a process, "
            f"{free / GIB:.1f} GiB are free: expect to run out (LoRA, deepspeed: z3 or z3_offload need less)"
        )


def free_memory(here: Machine, processes_here: int) -> int:
    """Bytes that one process may still take, 0 when that is not known."""
    if here.device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 0
    found = [int(text.split()[1]) for text in lines if text.startswith("MemAvailable:")]
    return found[0] * 1024 // max(processes_here, 1) if found else 0
