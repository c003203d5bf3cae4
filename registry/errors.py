"""Errors sorted by whose fault they are; the command line turns each into an exit code.

    Fault
    ├── DataFault      1   the data has errors, or lost more than the stated budget
    ├── UsageFault     2   the command or the configuration is wrong
    ├── MachineFault   3   disk full, no permission, a missing extra
    ├── WorkerFault    5   a worker was lost twice on the same chunk
    └── BusyFault      75  another run holds the output

They live in the lowest package that raises them, so that every stage can. Any other exception that reaches the
command line is a bug of ours (70, with a traceback).
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Sequence


class Terminated(BaseException):
    """SIGTERM arrived; blocks unwind as for Ctrl-C, so that temporary files go.

    arrived: it did, in this process; whoever goes on after an error of a library asks this first.
    """

    arrived = False


def is_library_failure(error: BaseException) -> bool:
    """Whether a library failed, so that another way may be taken: any exception, and a panic of Rust code, which is no
    Exception. Never when the run is being ended."""
    if Terminated.arrived:
        return False
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


class Fault(Exception):
    """Something went wrong that we can explain. `problems` holds one line each: where, what, what to do."""

    exit_code = 70

    def __init__(self, problem: str | Sequence[str], *, hint: str = "") -> None:
        self.problems: tuple[str, ...] = (problem,) if isinstance(problem, str) else tuple(problem)
        self.hint = hint
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        # workers send faults to the parent; the default would lose the keyword
        return (_rebuild, (type(self), self.problems, self.hint))


def _rebuild(kind: type[Fault], problems: tuple[str, ...], hint: str) -> Fault:
    return kind(problems, hint=hint)


class DataFault(Fault):
    """The data has errors."""

    exit_code = 1


class UsageFault(Fault):
    """The command or the configuration is wrong."""

    exit_code = 2


class MachineFault(Fault):
    """The machine refuses: disk full, no permission, a missing extra."""

    exit_code = 3


def unreadable(error: OSError, what: str | os.PathLike[str]) -> Fault:
    """The fault for a file or folder that could not be read: the user's when there is none or it is of another kind,
    else the machine's. what: its path, as the user knows it."""
    problem = f"{os.fspath(what)}: cannot be read: {os.strerror(error.errno) if error.errno else error}"
    if error.errno in _NAMED_WRONGLY:
        return UsageFault(problem)
    return MachineFault(problem, hint=NO_PERMISSION if error.errno in (errno.EACCES, errno.EPERM) else "")


NO_PERMISSION = "who runs prep needs read permission for it, and search permission (x) for every folder above it"
_NAMED_WRONGLY = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
)  # fmt: skip


class WorkerFault(Fault):
    """A worker was lost twice on the same chunk."""

    exit_code = 5


class BusyFault(Fault):
    """Another run holds the output."""

    exit_code = 75


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word that is most like a word, or an empty string when none is near. cutoff: how near, 0 to 1."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    if not near:  # case and blanks alone should not hide a match
        folded = {name.casefold().strip(): name for name in names}
        near = [folded[key] for key in [word.casefold().strip()] if key in folded]
    return near[0] if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` for the nearest known word, or an empty string when none is near."""
    near = nearest(word, known)
    return f'; did you mean "{near}"?' if near else ""


def near_file(name: str, beside: Iterable[str]) -> str:
    """The same for the name of a file. What stands before the first dot decides, for an ending in common says nothing;
    a short name has to be more alike."""
    stems: dict[str, list[str]] = {}
    for other in beside:
        stems.setdefault(_stem(other), []).append(other)
    stem = _stem(name)
    near = nearest(stem, stems, 0.6 if len(stem) > _SHORT else 0.65)
    return f'; did you mean "{nearest(name, stems[near], 0.0)}"?' if near else ""


_SHORT = 4  # letters


def _stem(name: str) -> str:
    return name[:1] + name[1:].partition(".")[0]
