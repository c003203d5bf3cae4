"""The machine's limits, by name: address space, processes and threads, open files, libraries that cannot be loaded.

What a limit does to a library is never the same twice: an import that fails, an error of a thread, an abort. So the one
that can be read beforehand is read beforehand, and what the others lead to is put into words at one place.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from registry.errors import MachineFault

_T = TypeVar("_T")

_LIGHT_BYTES = 450 << 20  # address space that the libraries of a check map, the most of it never touched
_FULL_BYTES = 1 << 30  # and those that tokenize and write shards
_FULL = frozenset({"pack", "train", "predict", "export", "inspect", "stats"})
_UNLIMITED_WORK = frozenset({"list", "explain", "schema", "doctor", "why"})

_WORDS = (
    ("can't start new thread", "threads"),
    ("Resource temporarily unavailable", "threads"),
    ("failed to map segment", "library"),
    ("cannot allocate memory in static TLS", "library"),
    ("cannot open shared object file", "library"),
    ("Cannot allocate memory", "memory"),
    ("Too many open files", "files"),
    ("error while attempting to bind", "files"),
)


def check_limits(command: str) -> None:
    """Raises MachineFault when the address space is limited to less than the command's libraries map."""
    if command in _UNLIMITED_WORK or command.startswith("-"):
        return
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    needed = _FULL_BYTES if command in _FULL else _LIGHT_BYTES
    if most != resource.RLIM_INFINITY and most < needed:
        raise MachineFault(
            f"this process may have an address space of {most >> 20:,} MiB (`ulimit -v`), and prep {command} "
            f"needs {needed >> 20:,} MiB, the most of it never touched",
            hint="raise it: `ulimit -v unlimited`; to bound the memory that is really used, give memory_limit",
        )


def limit_fault(error: BaseException) -> MachineFault | None:
    """The fault for an error behind which a limit of the machine stands; None for any other."""
    text = str(error)
    kind = next((kind for words, kind in _WORDS if words in text), "")
    if isinstance(error, OSError):
        kind = {errno.EAGAIN: "threads", errno.EMFILE: "files", errno.ENFILE: "files"}.get(error.errno or 0, kind)
    if not kind or (kind == "library" and not isinstance(error, ImportError) and "ImportError" not in text):
        return None
    if kind == "threads":
        return MachineFault(
            "no further process or thread may be started (`ulimit -u`, or pids.max of the container)",
            hint="raise that limit, or use --workers 1",
        )
    if kind == "files":
        return MachineFault("no further file may be opened (`ulimit -n`)", hint="raise it: `ulimit -n 4096`")
    if kind == "library":
        why = text.strip().splitlines()[-1][:200]
        return MachineFault(
            f"a library cannot be loaded: {why}",
            hint="install it again, or give this process more memory (`ulimit -v`)",
        )
    return MachineFault("there is not enough memory", hint="use fewer workers: --workers 1")


def aside(pool: ThreadPoolExecutor, work: Callable[[], _T]) -> Future[_T]:
    """Has a thread of the pool do the work; does it here when no further thread may be started."""
    try:
        return pool.submit(work)
    except RuntimeError:
        done: Future[_T] = Future()
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)
        return done
