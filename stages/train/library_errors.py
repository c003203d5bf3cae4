"""What libraries raise for the user's environment, as our own faults: the one place where it is translated.

    package missing, GPU missing, no memory, no network, no login      MachineFault (3)
    a value that a library refuses                                      UsageFault (2)
    anything else                                                       a bug of ours, raised as it is (70)

A library's refusal is a ValueError (or one of its kin) that the library itself raised: its innermost frame is the
library's. The same error out of our own code, and a TypeError or KeyError from anywhere, stay bugs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from registry.errors import Fault, MachineFault, UsageFault

LESS = "lower per_device_train_batch_size (raise gradient_accumulation_steps) or cutoff_len, or use LoRA"
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
_LIBRARIES = frozenset(
    {
        *("transformers", "trl", "peft", "accelerate", "deepspeed", "datasets", "bitsandbytes", "galore_torch"),
        *("torch", "apollo_torch", "hqq", "eetq", "liger_kernel", "safetensors", "torchao", "vllm", "tensorboard"),
        *("wandb", "mlflow", "swanlab", "trackio", "comet_ml", "clearml", "huggingface_hub"),
    }
)
_REPORTERS = frozenset({"wandb", "mlflow", "swanlab", "trackio", "comet_ml", "clearml"})
_HUB = frozenset({"huggingface_hub", "httpx", "httpcore", "requests", "urllib3"})
_REFUSALS = (ValueError, NotImplementedError, AssertionError, EnvironmentError)


@contextmanager
def translated() -> Iterator[None]:
    """Raises the Fault for what a library raises inside, and everything else as it is."""
    try:
        yield
    except Exception as error:
        fault = explained(error)
        if fault is None or fault is error:
            raise
        raise fault from error


def explained(error: Exception) -> Fault | None:
    """The fault that an exception stands for, None when it is a bug of ours."""
    if isinstance(error, Fault):
        return error
    text = str(error).strip()
    if out_of_memory(error):
        return MachineFault("there is not enough memory for this run", hint=LESS)
    if isinstance(error, ImportError):
        return _missing(error, text)
    home = type(error).__module__.partition(".")[0]
    raised_in = _library(error.__traceback__)
    if home in _HUB or (raised_in in _HUB and not isinstance(error, (TypeError, KeyError))):
        return MachineFault(f"the hub: {_words(text, error)}", hint="is the network there, and does HF_TOKEN allow it?")
    if home in _REPORTERS or raised_in in _REPORTERS:
        name = home if home in _REPORTERS else raised_in
        return MachineFault(f"report_to: {name}: {_words(text, error)}", hint=f"set {name} up, or report_to: none")
    if isinstance(error, TypeError) and _file(error.__traceback__).endswith("transformers/optimization.py"):
        return UsageFault(f"lr_scheduler_kwargs: {_words(text, error)}")
    if isinstance(error, _REFUSALS) and raised_in and text and not _of_files(error):
        return UsageFault(f"{raised_in}: {_words(text, error)}")
    return None


def out_of_memory(error: Exception) -> bool:
    """Whether a device, or this machine, had no memory left."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _NO_MEMORY)


def _missing(error: ImportError, text: str) -> Fault | None:
    if isinstance(error, ModuleNotFoundError) and error.name and not text.startswith("The required"):
        module = error.name.partition(".")[0]
        if module in ("pipeline", "stages", "registry", "schemas"):
            return None
        return MachineFault(f"{module} is not installed", hint=f"python -m pip install {module.replace('_', '-')}")
    return MachineFault(_words(text, error))


def _of_files(error: Exception) -> bool:
    """Whether it is the system's word about a file, which the command line knows how to tell."""
    return isinstance(error, OSError) and error.errno is not None


def _file(trace: TracebackType | None) -> str:
    """The file of the frame that raised."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else Path(trace.tb_frame.f_code.co_filename).as_posix()


def _library(trace: TracebackType | None) -> str:
    """The library whose frame raised, an empty string when it is none of those."""
    _, installed, inside = _file(trace).rpartition("-packages/")
    name = inside.partition("/")[0].removesuffix(".py") if installed else ""
    return name if name in _LIBRARIES | _HUB else ""


def _words(text: str, error: Exception) -> str:
    """An error's text as one line."""
    lines = [re.sub(r"\s+", " ", line).strip(" -") for line in text.splitlines()]
    return " ".join(line for line in lines if line) or type(error).__name__
