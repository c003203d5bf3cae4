"""Publish: a finished build replaces the old output whole, and one run at a time holds an output.

    OUT/.cache/build.x/...   the new output, every file written and synced
    OUT                      complete old output, or none

No old output: the entries move into OUT one by one, the manifest last. An old one: the new tree is put beside OUT and
the two folders change places in one system call (Linux renameat2 RENAME_EXCHANGE); where that does not exist, the old
manifest goes first and the new one comes last, so that nothing in between is ever called complete. What a killed run
left is tidied by the next one, once it holds the lock. Files in OUT that are not prep's stay where they are.

The lock is a hard link in the new tree before it becomes OUT, so there is no moment in which a second run finds OUT
without one. A build folder has a name of its own: a worker that outlives its killed run writes into nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from registry.errors import BusyFault, MachineFault, UsageFault
from stages.core import atomic_io
from stages.core.atomic_io import machine_fault, make_folder, remove_tree, sweep, sync_folder

from .manifest import BUILD, CACHE, KEYS, LOCK, MANIFEST, OWNER, STAMPS, is_ours, is_output, splits_of

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")  # two letters at least: C:/ is a folder

# what a file system says that has no exchange, no hard links, or another device at this place
_NOT_HERE = frozenset(
    {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES, errno.EMLINK,
     errno.EROFS, errno.ENAMETOOLONG}
)  # fmt: skip


def open_output(out: Path) -> None:
    """Makes OUT and its cache, or checks that it is ours. Raises UsageFault for a non-empty folder that is not ours."""
    if _URL.match(os.fspath(out)):  # a mistyped one; others do not come here
        raise UsageFault(f"{out}: is neither a folder nor a URL", hint="a URL has two slashes: s3://bucket/folder")
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


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Holds OUT for this run, tidied. Raises BusyFault when another one has it; the kernel frees it when a run dies."""
    fd = _lock(out)
    try:
        with contextlib.suppress(OSError):  # for people only: the lock is the kernel's
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        clean(out)
        marker = out / CACHE / OWNER
        if not marker.exists():
            atomic_io.write_whole(marker, b"This folder is written by prep.\n")
        yield
    finally:
        os.close(fd)


def _lock(out: Path) -> int:
    path = out / CACHE / LOCK
    for _ in range(20):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # a run with --no-cache has just ended
            make_folder(path.parent)
            continue
        except OSError as error:
            raise machine_fault(error, path) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except FileNotFoundError:
            pass  # removed while we waited: what we hold is nobody's lock any more
        except OSError as error:
            holder = os.read(fd, 100).decode("utf-8", "replace").strip()
            os.close(fd)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise machine_fault(error, path) from error
            raise BusyFault(
                f"{out}: another run holds this output{f' (process {holder})' if holder else ''}",
                hint="wait for it to end, or give another folder with -o",
            ) from None
        os.close(fd)
    raise BusyFault(f"{out}: other runs keep taking this output", hint="give another folder with -o")


# --- what a run that was killed left ----------------------------------------------------------------------------------


def new_build(out: Path) -> Path:
    """A fresh folder for a build."""
    build = out / CACHE / f"{BUILD}{secrets.token_hex(4)}"
    make_folder(build)
    return build


def clean(out: Path, *, keep_cache: bool = True) -> None:
    """Ends what a run left: its build, its temporary files, and the tree that changed places or was about to; without
    keep_cache the whole cache as well. Raises MachineFault."""
    beside = _beside(out)
    if beside.is_dir() and not beside.is_symlink():
        _merge(beside, out)
    cache = out / CACHE
    if not cache.is_dir():
        return
    for entry in sorted(cache.iterdir()):
        if entry.name.startswith(BUILD):
            remove_tree(entry)
    sweep(cache)
    if keep_cache:
        return
    for entry in sorted(cache.iterdir()):
        if entry.name != LOCK:  # last, so that a run which waits for it cannot begin too early
            remove_tree(entry)
    remove_tree(cache)
    if not any(out.iterdir()):
        remove_tree(out)


def _beside(out: Path) -> Path:
    whole = Path(os.path.realpath(out))  # where a link leads, for the exchange must not swap the link
    return whole.parent / f".{whole.name}{atomic_io.TEMPORARY}"


def _merge(beside: Path, out: Path) -> None:
    """What goes from the old tree to the new one: the cache and files that are not ours. Then the old tree goes away.

    Also right when the two have not changed places yet: the tree beside then has nothing that OUT lacks.
    """
    splits = splits_of(beside)
    old_cache = beside / CACHE
    moves = [
        (entry, out / CACHE / entry.name)
        for entry in (sorted(old_cache.iterdir()) if old_cache.is_dir() else ())
        if entry.name not in (LOCK, OWNER, KEYS, STAMPS)
    ]
    moves += [(entry, out / entry.name) for entry in sorted(beside.iterdir()) if not is_output(entry.name, splits)]
    try:
        for old, new in moves:
            if not os.path.lexists(new):
                atomic_io.operations.rename(os.fspath(old), os.fspath(new))
        sync_folder(os.fspath(out))
    except OSError as error:
        raise machine_fault(error, out) from error
    remove_tree(beside)


# --- the new output takes its place -----------------------------------------------------------------------------------


def publish(build: Path, out: Path) -> str:
    """Moves a finished build into OUT. Raises MachineFault when the disk says no.

    Returns a warning when the output is there but something old could not be cleaned away, else an empty string.
    """
    try:
        if os.path.lexists(out / MANIFEST) and _exchange(build, out):
            pass
        else:
            _replace(build, out)
    except OSError as error:
        raise machine_fault(error, out) from error
    try:
        clean(out)
    except MachineFault as fault:
        return f"the output is complete, but cleaning up failed: {fault.problems[0]}"
    return ""


def _replace(build: Path, out: Path) -> None:
    splits = splits_of(out)
    old = out / MANIFEST
    if os.path.lexists(old):
        remove_tree(old)
        sync_folder(os.fspath(out))
    names = {entry.name for entry in build.iterdir()} - {CACHE}
    for entry in sorted(out.iterdir()):
        if entry.name != CACHE and (entry.name in names or is_output(entry.name, splits)):
            remove_tree(entry)
    for entry in sorted((build / CACHE).iterdir()) if (build / CACHE).is_dir() else ():
        atomic_io.operations.rename(os.fspath(entry), os.fspath(out / CACHE / entry.name))
    for name in sorted(names - {MANIFEST}):
        atomic_io.operations.rename(os.fspath(build / name), os.fspath(out / name))
    sync_folder(os.fspath(out))
    atomic_io.operations.rename(os.fspath(build / MANIFEST), os.fspath(old))
    sync_folder(os.fspath(out))


def _exchange(build: Path, out: Path) -> bool:
    """The two folders change places; False when the system cannot do that here."""
    beside, whole = _beside(out), os.path.realpath(out)
    make_folder(build / CACHE)
    moved = False
    try:
        for name in (LOCK, OWNER):
            if not os.path.lexists(build / CACHE / name):
                atomic_io.operations.link(os.fspath(out / CACHE / name), os.fspath(build / CACHE / name))
        sync_folder(os.fspath(build / CACHE))
        atomic_io.operations.rename(os.fspath(build), os.fspath(beside))
        moved = True
        atomic_io.operations.exchange(os.fspath(beside), whole)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        if moved:
            atomic_io.operations.rename(os.fspath(beside), os.fspath(build))
        for name in (LOCK, OWNER):
            with contextlib.suppress(FileNotFoundError):
                atomic_io.operations.unlink(os.fspath(build / CACHE / name))
        return False
    sync_folder(os.path.dirname(whole))
    return True
