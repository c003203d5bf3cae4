"""Publish: a finished build replaces the old output whole, and one run at a time holds an output.

    OUT/.cache/build/...   the new output, every file written and synced
    OUT                    complete old output, or none

No old output: the entries move into OUT one by one, the manifest last. An old one: the new tree is put beside OUT and
the two folders change places in one system call (Linux renameat2 RENAME_EXCHANGE); where that does not exist, the old
manifest goes first and the new one comes last, so that nothing in between is ever called complete. A run that was
killed half-way is tidied at the next start.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from registry.errors import BusyFault, UsageFault
from stages import files
from stages.files import machine_fault, make_folder, remove_tree, sweep, sync_folder

MANIFEST = "manifest.json"
CACHE = ".cache"
OWNER = "prep-output"  # marks a folder as ours, complete or not
_EXCHANGE = 2  # RENAME_EXCHANGE, linux/fs.h


def open_output(out: Path) -> None:
    """Makes OUT and its cache, or checks that it is ours. Raises UsageFault for a non-empty folder that is not ours."""
    _tidy(out)
    if out.exists() and not out.is_dir():
        raise UsageFault(f"{out}: is a file; the output is a folder")
    if out.is_dir() and not is_ours(out):
        held = sorted(entry.name for entry in out.iterdir())
        if held:
            raise UsageFault(
                f"{out}: the folder is not empty and was not written by prep (it holds {', '.join(held[:5])})",
                hint="give another folder with -o, or empty this one",
            )
    make_folder(out / CACHE)
    marker = out / CACHE / OWNER
    if not marker.exists():
        files.write_whole(marker, b"This folder is written by prep.\n")


def is_ours(out: Path) -> bool:
    """Whether a folder holds an output of ours, finished or not."""
    if (out / CACHE / OWNER).is_file():
        return True
    try:
        head = (out / MANIFEST).read_bytes()[:4096]
    except OSError:
        return False
    return b'"schema_version"' in head and b'"kind"' in head


def _tidy(out: Path) -> None:
    """Ends what a killed run left: the cache goes back, the folder that changed places goes away."""
    beside = _beside(out)
    if beside.is_dir():
        if (beside / CACHE).is_dir() and out.is_dir() and not (out / CACHE).exists():
            files.operations.rename(os.fspath(beside / CACHE), os.fspath(out / CACHE))
        remove_tree(beside)
    if (out / CACHE).is_dir():
        sweep(out)


def _beside(out: Path) -> Path:
    return out.parent / f".{out.name}{files.TEMPORARY}"


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Holds OUT for this run. Raises BusyFault when another one has it; the kernel frees it when a run dies."""
    path = out / CACHE / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise machine_fault(error, path) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise machine_fault(error, path) from error
            holder = os.read(fd, 100).decode("utf-8", "replace").strip()
            raise BusyFault(
                f"{out}: another run holds this output{f' (process {holder})' if holder else ''}",
                hint="wait for it to end, or give another folder with -o",
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())  # for people only: the lock is the kernel's
        yield
    finally:
        os.close(fd)


def publish(build: Path, out: Path) -> None:
    """Moves a finished build into OUT. Raises MachineFault when the disk says no."""
    try:
        if (out / MANIFEST).exists() and _exchange(build, out):
            return
        _replace(build, out)
    except OSError as error:
        raise machine_fault(error, out) from error


def _replace(build: Path, out: Path) -> None:
    old = out / MANIFEST
    if old.exists():
        files.operations.unlink(os.fspath(old))
        sync_folder(os.fspath(out))
    names = sorted(entry.name for entry in build.iterdir())
    for entry in list(out.iterdir()):
        if entry.name != CACHE:
            remove_tree(entry)
    for name in sorted(names, key=lambda item: item == MANIFEST):
        if name == MANIFEST:
            sync_folder(os.fspath(out))
        files.operations.rename(os.fspath(build / name), os.fspath(out / name))
    sync_folder(os.fspath(out))
    files.operations.rmdir(os.fspath(build))


def _exchange(build: Path, out: Path) -> bool:
    """The two folders change places; False when the system cannot do that here."""
    beside = _beside(out)
    try:
        files.operations.rename(os.fspath(build), os.fspath(beside))
    except OSError:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "renameat2", None)
    if call is None or call(-100, os.fsencode(beside), -100, os.fsencode(out), _EXCHANGE) != 0:
        files.operations.rename(os.fspath(beside), os.fspath(build))
        return False
    sync_folder(os.fspath(out.parent))
    files.operations.rename(os.fspath(beside / CACHE), os.fspath(out / CACHE))
    sync_folder(os.fspath(out))
    remove_tree(beside)
    return True
