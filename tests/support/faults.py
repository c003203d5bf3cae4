"""A small pack whose every mutating system call can be made to fail. In a file of its own, since a child process that
is to be killed runs it as well: `python faults.py OUT DATA N`."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import plan as planning
from pipeline.config import load_config
from pipeline.output.manifest import BUILD, CACHE
from pipeline.runs.pack import template_check as proof
from pipeline.runs.pack.build import Outcome
from pipeline.runs.pack.run import prepare
from stages.core import atomic_io as files
from stages.core.atomic_io import TEMPORARY
from stages.core.records import Limits

TINY = Path(__file__).parents[2] / "fixtures" / "tiny"
NUMBERS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}


class Killed(BaseException):
    """The process is dead: nothing that it would still do is done."""


class Faulty:
    """The system's operations, of which number `at` goes wrong.

    mode: ENOSPC, EIO (that one call fails), full (from there on every call that needs space fails), kill (it and all
    later ones are never made), torn (a write is half done, then as kill), SIGKILL (this very process ends).
    """

    def __init__(self, mode: str = "", at: int = -1, lacks: str = "") -> None:
        self.mode = mode
        self.at = at
        self.lacks = lacks
        self.done: list[str] = []
        self.failed = ""

    def _act(self, name: str, arguments: tuple[Any, ...]) -> None:
        number = len(self.done)
        self.done.append(name)
        dead = self.mode in ("kill", "torn") and self.failed
        full = self.mode == "full" and number >= self.at and name in ("open", "write", "mkdir", "fsync", "link")
        if not (full or dead or (number == self.at and self.mode != "full")):
            return
        self.failed = self.failed or name
        if name == "close":
            os.close(arguments[0])
        if self.mode == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "torn" and name == "write" and not dead:
            os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
        if self.mode in ("kill", "torn"):
            raise Killed
        code = errno.ENOSPC if full else NUMBERS[self.mode]
        raise OSError(code, os.strerror(code))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if name == self.lacks:
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
            self._act(name, arguments)
            return getattr(SYSTEM, name)(*arguments)

        return call


SYSTEM = files.operations


def small_pack(data: Path, out: Path, *settings: str, log: Callable[[str], None] = lambda line: None) -> Outcome:
    """Packs in this process, in several chunks and shards; the template's proof, which takes a second, is left out."""
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=64", "workers=1"]
    config = load_config(None, [*words, "shard_size=16000", "packing=true", *settings], for_command="pack")
    kept = proof.Proof._prove, planning.Limits
    proof.Proof._prove = lambda self: {"verdict": "nothing-to-compare", "reason": "", "cases": {}}  # type: ignore[method-assign]
    planning.Limits = lambda: Limits(chunk_bytes=4 << 10)  # type: ignore[assignment,misc]
    try:
        return prepare(config, out, log)
    finally:
        proof.Proof._prove, planning.Limits = kept  # type: ignore[method-assign,misc]


def leftovers(out: Path) -> list[str]:
    """Everything that an ended run must not leave, in OUT or beside it."""
    found = [path for path in out.rglob("*") if path.name.endswith(TEMPORARY)]
    found += list((out / CACHE).glob(f"{BUILD}*")) if (out / CACHE).is_dir() else []
    found += [path for path in out.parent.iterdir() if path.name.endswith(TEMPORARY)]
    return sorted(path.as_posix() for path in found)


if __name__ == "__main__":
    files.operations = Faulty("SIGKILL", int(sys.argv[3]))  # type: ignore[assignment]
    small_pack(Path(sys.argv[2]), Path(sys.argv[1]), *sys.argv[4:])
