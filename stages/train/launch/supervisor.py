"""The parent's side of a launch: start torchrun, pass its signals and lines on, and turn its end into one of ours.

Workers write how they ended to a small file (`STATUS_VARIABLE` names it), since torchrun reports every failure as 1
with a traceback of its own, which is kept from the user. No torch is imported.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from registry.errors import BusyFault, DataFault, Fault, MachineFault, UsageFault, WorkerFault

from .torchrun import Launch

STATUS_VARIABLE = "PREP_TRAIN_STATUS"
_FAULTS = {fault.exit_code: fault for fault in (DataFault, UsageFault, MachineFault, WorkerFault, BusyFault)}
_PATIENCE_S = 600  # a large checkpoint takes its time


def write_status(code: int, problems: Iterable[str] = (), hint: str = "") -> None:
    """How a worker ended; the first of several workers counts. Does nothing when no parent listens."""
    path = os.environ.get(STATUS_VARIABLE)
    if not path:
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"exit_code": code, "problems": list(problems), "hint": hint}, file)


def write_done() -> None:
    """A worker's word that its work is done, before its interpreter goes down (which may still crash in a library)."""
    path = os.environ.get(STATUS_VARIABLE)
    if path:
        word = {"workers": int(os.environ.get("LOCAL_WORLD_SIZE", "1") or 1)}
        Path(f"{path}.done.{os.environ.get('RANK', '0')}").write_text(json.dumps(word), encoding="utf-8")


def _all_done(status: Path) -> bool:
    """Whether every worker of this machine has said so."""
    words = [json.loads(path.read_text("utf-8")) for path in status.parent.glob(f"{status.name}.done.*")]
    return bool(words) and len(words) >= max(int(word["workers"]) for word in words)


def run_launch(launch: Launch, say: Callable[[str], None]) -> int:
    """Run a planned launch to its end and return the exit code (0, 70 or 143).

    Raises the Fault that a worker ended with, or MachineFault when one died without a word. While it runs, SIGTERM goes
    on to the workers, which save a checkpoint.
    """
    with tempfile.TemporaryDirectory(prefix="prep-train-") as folder:
        status = Path(folder) / "status.json"
        environ = {**os.environ, **launch.env, STATUS_VARIABLE: str(status)}
        child = subprocess.Popen(launch.argv, env=environ, stderr=subprocess.PIPE, text=True, errors="replace")
        ends = _Ends()
        try:
            assert child.stderr is not None
            for text in quieted(child.stderr, ends):
                say(text)
            code = child.wait()
        except BaseException:  # a signal: the workers finish their step and save
            _stop(child)
            if not status.exists():
                raise
            code = child.returncode
        return _verdict(code, status, ends)


class _Ends:
    """The exit codes of workers that torchrun mentioned."""

    def __init__(self) -> None:
        self.codes: list[int] = []


def _verdict(code: int, status: Path, ends: _Ends) -> int:
    if status.exists():
        body = json.loads(status.read_text("utf-8"))
        fault = _FAULTS.get(int(body["exit_code"]))
        if fault is not None:
            raise fault([str(problem) for problem in body["problems"]], hint=str(body["hint"]))
        return int(body["exit_code"])
    if code == 0 or _all_done(status):  # a worker whose work was done may still crash on its way out
        return 0
    killed = [-number for number in ends.codes if number < 0]
    if signal.SIGKILL in killed:
        raise MachineFault(
            "a training process was killed from outside (SIGKILL)",
            hint="most often memory ran out: lower per_device_train_batch_size or cutoff_len, or use z3_offload",
        )
    names = ", ".join(signal.Signals(number).name for number in killed) or f"exit code {code}"
    raise MachineFault(f"a training process died without a word ({names})", hint="the lines above may say why")


def _stop(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.terminate()
    try:
        child.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


_AGENT_LINE = re.compile(r"^\[?[EWI]\d{4} .*torch[/.]distributed")
_EXIT_CODE = re.compile(r"\(exitcode: (-?\d+)\)")


def quieted(lines: Iterable[str], ends: _Ends) -> Iterator[str]:
    """The lines without torchrun's own: its log lines, and the traceback and summary it ends a failure with. A
    worker's traceback stays."""
    held: list[str] = []
    for raw in lines:
        text = raw.rstrip("\n")
        if held:
            held.append(text)
            if text.startswith(" ") or not text:
                continue
            if any("torch/distributed/run.py" in line for line in held):
                for rest in lines:  # nothing but its summary follows
                    ends.codes += [int(number) for number in _EXIT_CODE.findall(rest)]
                return
            yield from held
            held = []
        elif text.startswith("Traceback (most recent call last):"):
            held = [text]
        elif _AGENT_LINE.match(text):
            ends.codes += [int(number) for number in _EXIT_CODE.findall(text)]
        else:
            yield text
    yield from held


def worker_exit(work: Callable[[], object], complain: Callable[[str], None]) -> int:
    """Run a worker's work; returns its exit code and writes its status for the parent.

    `complain` shows a line when no parent listens.
    """
    import traceback

    from stages.train.run import Stopped

    alone = STATUS_VARIABLE not in os.environ
    try:
        work()
    except Fault as fault:
        write_status(fault.exit_code, fault.problems, fault.hint)
        for problem in (*fault.problems, *([f"  hint: {fault.hint}"] if fault.hint else ())):
            if alone:
                complain(problem)
        return fault.exit_code
    except Stopped as stopped:
        write_status(stopped.exit_code)
        complain(str(stopped))
        return stopped.exit_code
    except KeyboardInterrupt:
        write_status(130)
        return 130
    except Exception:
        complain(traceback.format_exc())
        write_status(70)
        return 70
    write_done()
    return 0
