"""Fetch: an output behind a URL, read: its manifest, and its files as a stream for `prep verify`.

A manifest from elsewhere is untrusted: it is held against its schema, names that lead outside are refused, and no file
is read past the size that it states.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

from registry.errors import DataFault, UsageFault
from stages.core.display import clean

from .manifest import MANIFEST, listed_files, parse_manifest
from .store import Store

JOURNAL = "publishing.json"  # there while an output is being replaced
MANIFEST_BYTES_MOST = 256 << 20  # 300,000 shards
_AGAIN = "run `prep pack` again"


def fetch_manifest(url: str) -> dict[str, Any]:
    """The manifest of an output behind a URL.

    Raises UsageFault when there is none or its version is not ours, DataFault when it is damaged.
    """
    store = Store(url)
    data = store.read(MANIFEST, MANIFEST_BYTES_MOST)
    if data is not None:
        return checked_manifest(data, f"{store.shown}/{MANIFEST}")
    if store.about(JOURNAL) is not None:
        raise UsageFault(
            f"{store.shown}: is being published, or a run that published it has died",
            hint="wait, or start `prep pack` again: it goes on where it stopped",
        )
    raise UsageFault(
        f"{store.shown}: no {MANIFEST} there, so it holds no finished output",
        hint="make one with `prep pack CONFIG.yaml -o URL`",
    )


def checked_manifest(data: bytes, where: str) -> dict[str, Any]:
    """A manifest from elsewhere, held against its schema. Raises as `parse_manifest` does."""
    import jsonschema_rs

    from schemas import load

    manifest = parse_manifest(data, where)
    error = next(jsonschema_rs.validator_for(load("manifest")).iter_errors(manifest), None)
    if error is not None:
        place = "".join(f"/{part}" for part in error.instance_path)
        raise DataFault(f"{where}: not a manifest of prep ({clean(place) or 'its top level'})", hint=_AGAIN)
    return manifest


class StoreFiles:
    """The files of an output behind a URL, for `verify.problems`: each read once, a block at a time."""

    def __init__(self, url: str, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        self._store = Store(url)
        self._held = self._store.held(sorted(listed_files(manifest)))

    def size(self, name: str) -> int | None:
        """Bytes of an object, None when there is none."""
        return self._held[name].bytes if name in self._held else None

    def content(self, name: str, *, rows: bool) -> tuple[str, int]:
        """sha256 of an object and, if requested, its rows (-1: not an Arrow stream)."""
        return self._store.through(name, lambda blocks: digest_of(blocks, rows=rows))

    def names(self, folder: str) -> list[str]:
        """Names of the objects right below a folder of the output, sorted (none on a web server)."""
        inside = [name.removeprefix(f"{folder}/") for name in sorted(self._held) if name.startswith(f"{folder}/")]
        return [name for name in inside if "/" not in name]


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
        except pa.ArrowInvalid:
            count = -1
    for block in blocks:  # what Arrow did not need
        source.digest.update(block)
    return source.digest.hexdigest(), count
