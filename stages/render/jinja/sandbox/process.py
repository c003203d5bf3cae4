"""The outer wall: templates are rendered in a child process that may use little memory and little time.

    parent ── batch of items ──▶ child     one long-lived process a wall, templates compiled once
           ◀── answer, answer ──           an item that kills it is named, the child restarted, the rest served

The sandbox (`stages.render.jinja.sandbox.environment`) keeps a template from running code; nine of seventeen one-line
templates still took 1-3 GB or more than 8 s of CPU in it. Here each ends at `Limits`: address space by the kernel, CPU
time by the kernel's profiling timer (so a busy machine changes nothing), output by counting, and a wall clock for what
neither sees. Price: 0.15 s to start, then about 0.2 ms an item on top of the render itself.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import orjson

from registry.errors import MachineFault, UsageFault

from .requests import Item, Limits, Outcome, Program

_SILENT = "no answer"  # how a child went that the wall clock stopped

# the parent's own module path, so that the child finds what the parent found, whatever its working directory
_START = (
    "import json,sys;sys.path[:]=json.loads(sys.argv[1]);from stages.render.jinja.sandbox.worker import main;main()"
)


class Wall:
    """Renders items in a child. Use it in a `with`, or `close` it; it also ends with the parent."""

    def __init__(self, program: Program, limits: Limits | None = None) -> None:
        self.program = program
        self.limits = limits or Limits()
        self.child: subprocess.Popen[bytes] | None = None
        self.owner = 0
        self.ending: weakref.finalize[..., Wall] | None = None
        self.deaths = 0
        self.lost_s = 0.0
        self.since = 0.0  # when the child was last heard of
        self.buffer = bytearray()

    def __enter__(self) -> Wall:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child. The wall can be used again: it starts another."""
        self.child = None
        self.buffer.clear()
        if self.ending is not None:
            self.ending()
            self.ending = None

    def render(self, items: Sequence[Item]) -> list[Outcome]:
        """One outcome an item, in order.

        Raises MachineFault when no child can be started, UsageFault when item after item kills it.
        """
        outcomes: list[Outcome | None] = [None] * len(items)
        waiting: list[int] = []
        lines: dict[int, bytes] = {}
        for index, item in enumerate(items):
            line = self._line(item)
            if isinstance(line, Outcome):
                outcomes[index] = line
            else:
                lines[index] = line
                waiting.append(index)
        retried = -1
        while waiting:
            blame = self._batch(waiting, lines, outcomes)
            waiting = [index for index in waiting if outcomes[index] is None]
            if not waiting or blame is None:
                continue
            culprit = waiting[0]
            if blame == "" and retried != culprit:
                retried = culprit  # killed from outside, perhaps: once more before it is called the item's fault
                continue
            outcomes[culprit] = Outcome("", None, "limit", blame or "the render process died")
            waiting = waiting[1:]
            self._stopped(blame)
        return [outcome for outcome in outcomes if outcome is not None]

    def _stopped(self, why: str) -> None:
        """Counts an item that had to be stopped. Raises UsageFault when there were too many in a row."""
        self.deaths += 1
        # on a busy machine the clock runs on while the child waits for its turn
        longest = self.limits.wall_s if why.startswith(_SILENT) else self.limits.cpu_s
        self.lost_s += min(time.monotonic() - self.since, longest)
        if self.deaths >= self.limits.deaths_in_a_row or self.lost_s >= self.limits.lost_s:
            self.close()
            raise UsageFault(
                f"the chat template used up its limits on {self.deaths} records in a row ({why})",
                hint="`template: NAME` renders with a template of ours instead of the tokenizer's own",
            )

    def _line(self, item: Item) -> bytes | Outcome:
        fields: dict[str, Any] = {**item._asdict(), "cap_chars": self.limits.output_chars}
        if item.tools is None:
            del fields["tools"]  # see _dumps
        if not item.variables:
            del fields["variables"]
        try:
            line = _dumps(fields)
            if len(line) > self.limits.output_chars // 2:
                line = _dumps({**fields, "cap_chars": self.limits.output_chars + 2 * len(line)})
        except (TypeError, ValueError) as error:
            return Outcome("", None, "broken", f"the record cannot be written as JSON: {error}")
        return line

    def _batch(self, waiting: list[int], lines: dict[int, bytes], outcomes: list[Outcome | None]) -> str | None:
        """Sends what waits and fills in the answers. None: all is well, or the child left by itself and can be started
        again; a text: the first unanswered item killed it, and how ("" is for no reason we know)."""
        child = self._start() if self.child is None or self.owner != os.getpid() else self.child
        try:
            self._send(child, b"\n".join(lines[index] for index in waiting))
            self.since = time.monotonic()
            for index in waiting:
                reply = self._receive(child)
                if reply.get("error") == "limit":
                    self._stopped(reply["message"])
                self.since = time.monotonic()
                if "error" in reply:
                    outcomes[index] = Outcome("", None, reply["error"], reply["message"])
                else:
                    self.deaths = 0
                    self.lost_s = 0.0
                    marks = reply["marks"]
                    marks = marks and [(mark, place) for mark, place in marks]
                    outcomes[index] = Outcome(reply["text"], marks)
                if reply.get("leaving"):
                    self.close()
                    return None
        except _Gone as gone:
            self.close()
            return gone.how
        return None

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-s", "-c", _START, orjson.dumps(sys.path).decode()]
        # nothing of the user's environment: a template that got out would find no secret in it
        environment = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        if "SYSTEMROOT" in os.environ:  # Windows starts no process without it
            environment["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
        except OSError as error:
            raise MachineFault(f"the template process cannot be started: {error.strerror or error}") from error
        self.child, self.owner = child, os.getpid()
        self.ending = weakref.finalize(self, _end, child, self.owner)
        setup = {
            "sources": self.program.sources,
            "variables": self.program.variables,
            "template_date": self.program.template_date,
            "cpu_s": self.limits.cpu_s,
            "address_space_bytes": self.limits.address_space_bytes,
        }
        try:
            self._send(child, orjson.dumps(setup))
            self._receive(child)
        except _Gone as gone:
            self.close()
            raise MachineFault(
                f"the template process ended before its first render ({gone.how or 'no reason'})"
            ) from gone
        return child

    def _send(self, child: subprocess.Popen[bytes], data: bytes) -> None:
        assert child.stdin is not None
        try:
            child.stdin.write(b"%08x" % len(data))
            child.stdin.write(data)
            child.stdin.flush()
        except OSError as error:
            raise _Gone(_cause(child)) from error

    def _receive(self, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        deadline = time.monotonic() + self.limits.wall_s
        self._fill(child, 8, deadline)
        size = int(bytes(self.buffer[:8]), 16)
        self._fill(child, 8 + size, deadline)
        reply: dict[str, Any] = orjson.loads(memoryview(self.buffer)[8 : 8 + size])
        del self.buffer[: 8 + size]
        return reply

    def _fill(self, child: subprocess.Popen[bytes], size: int, deadline: float) -> None:
        """Reads until the buffer holds `size` bytes. Raises _Gone."""
        assert child.stdout is not None
        pipe = child.stdout.fileno()
        while len(self.buffer) < size:
            with selectors.DefaultSelector() as selector:
                selector.register(pipe, selectors.EVENT_READ)
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise _Gone(f"{_SILENT} within {self.limits.wall_s:g} s")
            data = os.read(pipe, 1 << 20)
            if not data:
                raise _Gone(_cause(child))
            self.buffer += data


def _dumps(fields: dict[str, Any]) -> bytes:
    """One line. A leading blank tells the child to read it with Python's own decoder: for integers over 64 bits, which
    orjson refuses, and where a null may be a NaN or an infinity that orjson has written so."""
    try:
        line = orjson.dumps(fields)
    except orjson.JSONEncodeError:
        line = b"null"
    return line if b"null" not in line else b" " + json.dumps(fields, ensure_ascii=False).encode("utf-8")


def _end(child: subprocess.Popen[bytes], owner: int) -> None:
    """Ends a child of this process; one that was inherited by a fork is the parent's to end."""
    if owner != os.getpid():
        return
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # what was still to be written has no reader
            continue


class _Gone(Exception):
    """The child has ended, or must."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


def _cause(child: subprocess.Popen[bytes]) -> str:
    """Why a child ended, as far as its exit tells; "" when it does not."""
    try:
        code = child.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return ""
    cpu = {-getattr(signal, name) for name in ("SIGPROF", "SIGXCPU") if hasattr(signal, name)}
    if code in cpu:
        return "more CPU time than a template may use"
    if code in {-getattr(signal, name) for name in ("SIGSEGV", "SIGABRT") if hasattr(signal, name)}:
        return "the template crashed its process"
    return ""
