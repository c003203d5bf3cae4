"""Commands tried in this process: how each ended, what it printed, and how long it took."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

EXPECTED = frozenset({0, 1, 2, 3})
SECONDS_MOST = 10.0


@dataclass(frozen=True)
class Attempt:
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    def fault(self) -> str:
        """What no input may lead to: an internal error, a traceback, a hang, an error without a word; "" if there is
        nothing of that."""
        if self.code not in EXPECTED:
            return f"exit {self.code}: {' '.join(self.words)[-300:]}\n{self.err[-3000:]}"
        if "Traceback (most recent call last)" in self.err:
            return f"traceback: {' '.join(self.words)[-300:]}\n{self.err[-3000:]}"
        if self.seconds > SECONDS_MOST:
            return f"{self.seconds:.1f} s: {' '.join(self.words)[-300:]}"
        if self.code in (2, 3) and not any(word in self.err for word in ("prep: ", "problem ")):  # doctor's
            return f"exit {self.code} without a word: {' '.join(self.words)[-300:]}\n{self.err[-3000:]}"
        return ""


def attempt(*words: str) -> Attempt:
    """Runs a command in this process; the environment is afterwards as it was."""
    from pipeline.cli import run

    out, err = _stream("surrogateescape"), _stream("backslashreplace")
    start = time.monotonic()
    with _same_environment(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(list(words))
    seconds = time.monotonic() - start
    return Attempt(words, code, _text(out), _text(err), seconds)


def faults(attempts: Sequence[Attempt]) -> list[str]:
    """What went wrong in each of those that went wrong."""
    return [found for one in attempts if (found := one.fault())]


def _stream(errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors=errors)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@contextlib.contextmanager
def _same_environment() -> Iterator[None]:
    kept = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
