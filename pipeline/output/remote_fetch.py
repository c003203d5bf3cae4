"""Fetch: an output behind a URL, read: its manifest, and its files as a stream for `prep verify`.

A manifest from elsewhere is untrusted: it is held against its schema, names that lead outside are refused, and no file
is read past the size that it states.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

from registry.errors import UsageFault

from .manifest import CACHE, MANIFEST, listed_files, parse_manifest
from .store import Store
from .verify import Place

JOURNAL = "publishing.json"  # there while an output is being replaced
MANIFEST_BYTES_MOST = 256 << 20  # 300,000 shards


def fetch_manifest(url: str) -> dict[str, Any]:
    """The manifest of an output behind a URL.

    Raises UsageFault when there is none or its version is not ours, DataFault when it is damaged.
    """
    return fetch_text(url)[0]


def fetch_text(url: str) -> tuple[dict[str, Any], bytes]:
    """The manifest of an output behind a URL, and its bytes. Raises as `fetch_manifest` does."""
    store = Store(url)
    data = store.read(MANIFEST, MANIFEST_BYTES_MOST)
    if data is not None:
        return parse_manifest(data, f"{store.shown}/{MANIFEST}"), data
    if store.about(JOURNAL) is not None:
        raise UsageFault(
            f"{store.shown}: is being published, or a run that published it has died",
            hint="wait, or start `prep pack` again: it goes on where it stopped",
        )
    raise UsageFault(
        f"{store.shown}: no {MANIFEST} there, so it holds no finished output",
        hint="make one with `prep pack CONFIG.yaml -o URL`",
    )


class StoreFiles:
    """The files of an output behind a URL, for `verify.problems`: each read once, a block at a time."""

    def __init__(self, url: str) -> None:
        """Raises UsageFault or DataFault when there is no readable manifest, MachineFault when nothing can be read."""
        self.manifest, self.text = fetch_text(url)
        self._store = Store(url)
        self._held = self._store.held(sorted(listed_files(self.manifest)))

    def place(self, name: str) -> Place | None:
        """An object, None when there is none."""
        return Place(self._held[name].bytes) if name in self._held else None

    def content(self, name: str, *, rows: bool) -> tuple[str, int]:
        """sha256 of an object and, if requested, its rows (-1: not an Arrow stream)."""
        return self._store.through(name, lambda blocks: digest_of(blocks, rows=rows))

    def names(self) -> list[str]:
        """Names of all objects, sorted (on a web server only of those that the manifest lists)."""
        return sorted(name for name in self._held if name != JOURNAL and not name.startswith(f"{CACHE}/"))


class _Hashed(io.RawIOBase):
    """Blocks as a file that can be read forward, hashed on the way."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            block = next(self._blocks, b"")
            self.digest.update(block)
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def digest_of(blocks: Iterator[bytes], *, rows: bool) -> tuple[str, int]:
    """sha256 of blocks and, if requested, the rows of the Arrow stream that they are (-1: they are none)."""
    import pyarrow as pa

    source, count = _Hashed(blocks), 0
    if rows:
        try:
            with pa.ipc.open_stream(pa.PythonFile(io.BufferedReader(source), mode="r")) as reader:
                count = sum(batch.num_rows for batch in reader)
        except (pa.ArrowException, OSError):  # a store that breaks off raises neither
            count = -1
    for block in blocks:  # what Arrow did not need
        source.digest.update(block)
    return source.digest.hexdigest(), count
