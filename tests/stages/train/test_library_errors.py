"""What a library raises for the user's environment is a fault with its exit code; a bug of ours stays one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registry.errors import Fault, MachineFault, UsageFault
from stages.train.library_errors import explained, translated

pytestmark = pytest.mark.train


def raised_in(place: str, source: str) -> Exception:
    """The exception of a source text that stands in a file of an installed library."""
    code = compile(source, f"/env/lib/python3/site-packages/{place}", "exec")
    try:
        exec(code, {})
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def foreign(module: str, name: str, text: str) -> Exception:
    error: Exception = type(name, (Exception,), {"__module__": module})(text)
    return error


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (lambda: RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), MachineFault, "not enough memory"),
        (lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), MachineFault, "memory"),
        (lambda: MemoryError(), MachineFault, "memory"),
        (lambda: foreign("torch", "OutOfMemoryError", "x"), MachineFault, "memory"),
        (lambda: ModuleNotFoundError("No module named 'galore_torch'", name="galore_torch"), MachineFault, "galore_t"),
        (lambda: ImportError("You need to install `bitsandbytes`"), MachineFault, "bitsandbytes"),
        (lambda: ImportError("The required package 'scipy' is not installed."), MachineFault, "scipy"),
        (lambda: foreign("wandb.errors", "UsageError", "No API key configured"), MachineFault, "wandb: No API key"),
        (lambda: foreign("mlflow.exceptions", "MlflowException", "no such store"), MachineFault, "mlflow: no such"),
        (lambda: foreign("huggingface_hub.errors", "OfflineModeIsEnabled", "offline"), MachineFault, "the hub"),
        (lambda: foreign("httpx", "ConnectError", "refused"), MachineFault, "the hub: refused"),
        (lambda: raised_in("transformers/trainer.py", "raise ValueError('needs\\n- more')"), UsageFault, "needs more"),
        (lambda: raised_in("torch/flex.py", "raise NotImplementedError('no backward')"), UsageFault, "torch: no"),
        (lambda: raised_in("transformers/cb.py", "assert False, 'requires a metric'"), UsageFault, "requires a metric"),
        (lambda: raised_in("transformers/optimization.py", "raise TypeError('missing x')"), UsageFault, "lr_scheduler"),
    ],
)  # fmt: skip
def test_a_librarys_word_about_the_environment_is_a_fault(
    error: Callable[[], Exception], kind: type[Fault], told: str
) -> None:
    found = explained(error())
    assert type(found) is kind
    assert told in found.problems[0]
    assert "\n" not in found.problems[0]


@pytest.mark.parametrize(
    "error",
    [
        lambda: ValueError("ours"),
        lambda: raised_in("transformers/trainer.py", "{}['missing']"),
        lambda: raised_in("transformers/trainer.py", "len(5)"),
        lambda: raised_in("numpy/core.py", "raise ValueError('shapes')"),
        lambda: ModuleNotFoundError("No module named 'stages.train.nosuch'", name="stages.train.nosuch"),
        lambda: raised_in("transformers/trainer.py", "open('/nosuch/file')"),
    ],
)
def test_a_bug_of_ours_stays_one(error: Callable[[], Exception]) -> None:
    assert explained(error()) is None


def test_a_fault_passes_as_it_is() -> None:
    fault = UsageFault("a key", hint="a hint")
    with pytest.raises(UsageFault) as told, translated():
        raise fault
    assert told.value is fault
