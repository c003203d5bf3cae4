"""Store: the objects below one URL, and the one seam between outputs and fsspec.

    s3://bucket/sft + train/data-00000-of-00002.arrow   one object, written by one PUT, never moved

Each PUT is atomic for its object: a reader sees the old object or the new one. Calls that change something go through
`operations`, so that a test can make any of them fail. A failed call is tried again after a pause; what still fails is
a MachineFault that names the object. A remote error's own text may repeat a URL with its credentials, so only its kind
is shown. The price of streaming is one block in memory (fsspec's own, 5 to 50 MiB).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from registry.errors import Fault, MachineFault, UsageFault
from stages.core.display import clean
from stages.core.urls import is_url, local_path, public
from stages.readers.remote_file import DIGESTS, filesystem

TRIES = 3
PAUSES_S = (1.0, 4.0)  # between tries; the stores' own libraries have waited for short troubles before
BLOCK_BYTES = 4 << 20
STAGING, COPY = "", ".copy"  # endings of cache folders: where an output is built, and where one is copied to
READ_ONLY = {
    "http": "a web server takes no files",
    "https": "a web server takes no files",
    "hf": "every file would be a commit of its own on the hub",
}
_T = TypeVar("_T")


class Operations(Protocol):
    """The calls that change a store, so that tests can put a faulty set in their place."""

    def send(self, system: Any, source: str, path: str) -> None: ...
    def write(self, system: Any, path: str, data: bytes) -> None: ...
    def remove(self, system: Any, path: str) -> None: ...


class _Fsspec:
    """fsspec's own calls."""

    def send(self, system: Any, source: str, path: str) -> None:
        system.put_file(source, path)

    def write(self, system: Any, path: str, data: bytes) -> None:
        system.pipe_file(path, data)

    def remove(self, system: Any, path: str) -> None:
        system.rm_file(path)


operations: Operations = _Fsspec()


class Held(NamedTuple):
    """An object as the store lists it. tag: the store's own digest or version of the content, or an empty string."""

    bytes: int
    tag: str


def is_store(out: str | os.PathLike[str]) -> bool:
    """Whether an output is named by a URL (a `file://` URL is a folder, and so is `a::b`)."""
    text = os.fspath(out)
    return "://" in text and is_url(text) and local_path(text) is None


def local_folder(out: str | os.PathLike[str]) -> Path:
    """An output that is a folder as a path, `file://` taken off."""
    return Path(local_path(os.fspath(out)) or out)


def cache_folder(url: str, kind: str) -> Path:
    """A folder of this user's for what belongs to a URL: $XDG_CACHE_HOME/prep or ~/.cache/prep, whose name depends on
    the URL without credentials. kind: what it is for, as the ending."""
    shown = public(url).rstrip("/")
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the specification has a relative one ignored
        base = os.path.join(os.path.expanduser("~"), ".cache")
    title = re.sub(r"[^A-Za-z0-9._-]", "-", shown.rsplit("/", 1)[-1]).lstrip(".")[:40]
    digest = hashlib.sha256(shown.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Path(base) / "prep" / f"{title}-{digest}{kind}"


class _Broken(Exception):
    """Reading failed; not an OSError, which whoever writes the blocks to a disk would take for the disk's."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class Store:
    """The objects below a URL. Names are relative to it, with slashes."""

    def __init__(self, url: str, *, for_writing: bool = False) -> None:
        """Raises UsageFault for a protocol that is not on the list (or takes no files, when they are to be written),
        MachineFault when its package is missing."""
        self.url = url
        self.shown = public(url).rstrip("/")
        protocol = re.split("[:]", url, maxsplit=1)[0].lower()
        if for_writing and protocol in READ_ONLY:
            raise UsageFault(
                f"{self.shown}: outputs are not written to {protocol}://: {READ_ONLY[protocol]}",
                hint="write it to a folder, upload that, and compare with `prep verify`",
            )
        self._lists = protocol not in ("http", "https")
        self._system, path = filesystem(url)
        self._root = path.rstrip("/")

    # --- reading ------------------------------------------------------------------------------------------------------

    def held(self, names: list[str] | None = None) -> dict[str, Held]:
        """Every object by name, from one listing; on a web server, which has none, those of `names` that are there."""
        if self._lists:
            return self._tried("listed", "", self._listing)
        found = {name: self.about(name) for name in names or ()}
        return {name: held for name, held in found.items() if held is not None}

    def _listing(self) -> dict[str, Held]:
        self._system.invalidate_cache()
        try:
            found = self._system.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        held = {}
        for path, info in found.items():
            name = path[len(self._root) :].lstrip("/")
            if name and not name.endswith("/"):  # consoles make empty objects that stand for folders
                held[name] = _held(info)
        return held

    def about(self, name: str) -> Held | None:
        """One object, None when there is none."""
        self._system.invalidate_cache()
        try:
            return self._tried("looked at", name, lambda: _held(self._system.info(self._path(name))))
        except FileNotFoundError:
            return None

    def read(self, name: str, most_bytes: int) -> bytes | None:
        """A small object whole, None when there is none. Raises MachineFault when it is larger than `most_bytes`."""

        def whole() -> bytes:
            with self._system.open(self._path(name), "rb") as handle:
                data: bytes = handle.read(most_bytes + 1)
            return data

        try:
            data = self._tried("read", name, whole)
        except FileNotFoundError:
            return None
        if len(data) > most_bytes:
            raise MachineFault(f"{self.shown}/{clean(name)}: is larger than {most_bytes >> 20} MiB")
        return data

    def through(self, name: str, use: Callable[[Iterator[bytes]], _T]) -> _T:
        """What `use` makes of an object's blocks; called again from the start when reading fails on the way."""

        def blocks() -> Iterator[bytes]:
            try:
                with self._system.open(self._path(name), "rb") as handle:
                    while block := handle.read(BLOCK_BYTES):
                        yield block
            except Exception as error:
                raise _Broken(error) from None

        def action() -> _T:
            try:
                return use(blocks())
            except _Broken as broken:
                raise broken.cause from None

        try:
            return self._tried("read", name, action)
        except FileNotFoundError:
            raise MachineFault(f"{self.shown}/{clean(name)}: went away while it was being read") from None

    # --- writing ------------------------------------------------------------------------------------------------------

    def send(self, name: str, source: str | os.PathLike[str]) -> None:
        """Uploads a file."""
        self._changed(name, lambda: operations.send(self._system, os.fspath(source), self._path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Writes a small object in one PUT."""
        self._changed(name, lambda: operations.write(self._system, self._path(name), data))

    def remove(self, name: str) -> None:
        """Removes an object; an absent one is fine."""

        def gone() -> None:
            try:
                operations.remove(self._system, self._path(name))
            except FileNotFoundError:
                pass

        self._changed(name, gone)

    # --- trying -------------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _changed(self, name: str, action: Callable[[], None]) -> None:
        try:
            self._tried("written", name, action)
        except FileNotFoundError:
            raise UsageFault(
                f"{self.shown}: there is no such bucket or container", hint="make it first, or fix the URL"
            ) from None

    def _tried(self, done: str, name: str, action: Callable[[], _T]) -> _T:
        """FileNotFoundError goes through, as do our own faults; every other error becomes one."""
        for pause_s in (*PAUSES_S[: TRIES - 1], None):
            try:
                return action()
            except (Fault, FileNotFoundError):
                raise
            except OSError as error:
                if pause_s is None or isinstance(error, PermissionError):
                    raise self._fault(done, name, error) from None
                time.sleep(pause_s)
            except Exception as error:  # each store's library has errors of its own
                raise self._fault(done, name, error) from None
        raise AssertionError("the last try raises")

    def _fault(self, done: str, name: str, error: Exception) -> MachineFault:
        place = f"{self.shown}/{clean(name)}" if name else self.shown
        hint = "check the address and your access"
        if done == "written":
            hint += "; the same command goes on where it stopped"
        return MachineFault(f"{place}: cannot be {done} ({type(error).__name__})", hint=hint)


def _held(info: dict[str, Any]) -> Held:
    size = info.get("size")
    tag = next((f"{name}:{info[name]}" for name in DIGESTS if info.get(name)), "")
    return Held(-1 if size is None else int(size), tag)
