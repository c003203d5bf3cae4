"""Files behind URLs, through fsspec: a short list of protocols, one hop, and no credentials in anything shown.

    https://host/a.jsonl   s3://bucket/folder   hf://datasets/org/name/*.parquet

fsspec can chain protocols (`simplecache::zip://..::http://..`); a chain is refused, since it can reach where the first
protocol's name does not say. Credentials belong in the environment, where each protocol's own library looks for them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from registry.errors import Fault, MachineFault, UsageFault, did_you_mean
from stages.core.display import clean
from stages.core.urls import URL, public

from .local_file import Hasher

PROTOCOLS = ("file", "http", "https", "s3", "gs", "gcs", "hf", "memory", "abfs", "az")
_PACKAGES = {
    "http": "aiohttp",
    "https": "aiohttp",
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
}
_PACKAGES |= {"abfs": "adlfs", "az": "adlfs"}

_T = TypeVar("_T")


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it.

    Raises UsageFault for a chain or a protocol that is not on the list, MachineFault when its package is missing.
    """
    found = URL.match(url)
    protocol = found.group(1).lower() if found else ""
    if "::" in url:
        raise UsageFault(f"{public(url)}: chained protocols are not read", hint="name the file itself")
    if protocol not in PROTOCOLS:
        near = did_you_mean(protocol, PROTOCOLS)
        raise UsageFault(
            f"{public(url)}: {clean(protocol)}:// is not read{near}", hint=f"read are {', '.join(PROTOCOLS)}"
        )
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError:
        package = _PACKAGES.get(protocol, "fsspec")
        raise MachineFault(
            f"{public(url)}: {protocol}:// needs {package}", hint=f"python -m pip install {package}"
        ) from None
    except Exception as error:
        raise _fault(url, error) from None
    return system, path


def discover_remote(url: str, is_data: Callable[[str], bool]) -> list[str]:
    """URLs of the files that `url` names: a file, a folder with all below it, or a glob (not over http)."""
    system, path = filesystem(url)
    web = url.lower().startswith("http")
    if not web and any(char in path for char in "*?["):
        names = _asked(url, lambda: system.glob(path))
        hits = _asked(url, lambda: sorted(name for name in names if system.isfile(name)))
        if not hits:
            raise UsageFault(f"{public(url)}: no file matches")
        return [system.unstrip_protocol(name) for name in hits]
    kind = _asked(url, lambda: system.info(path)).get("type")
    if web or kind != "directory":
        return [url]
    names = sorted(name for name in _asked(url, lambda: system.find(path)) if is_data(name.rsplit("/", 1)[-1]))
    if not names:
        raise UsageFault(f"{public(url)}: the folder holds no data file")
    return [system.unstrip_protocol(name) for name in names]


DIGESTS = ("ETag", "etag", "md5Hash", "md5", "content_md5", "crc32c", "sha256")


def identity(url: str) -> str:
    """What a URL's content is known by: the store's own digest with the size, else the sha256 of a read."""
    system, path = filesystem(url)
    info = _asked(url, lambda: system.info(path))
    for name in DIGESTS:
        if info.get(name) and info.get("size") is not None:
            return f"{name}:{info[name]}:{info['size']}"
    with RemoteSource(url, 1 << 20) as source:
        return source.finish()[0]


class RemoteSource:
    """A file behind a URL, read once from its start; the interface of `sources.Source`."""

    seekable = False

    def __init__(self, url: str, block_bytes: int) -> None:
        self.path = url
        self.block_bytes = block_bytes
        self.size = 0
        self._hasher = Hasher()
        self._ended = False
        self._first: bytes | None = None
        self._cache: Any = None
        system, path = filesystem(url)
        self._file = _asked(url, lambda: system.open(path, "rb"))

    def __enter__(self) -> RemoteSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hasher.close()
        self._file.close()
        if self._cache is not None:
            self._cache.close()

    def _read(self) -> bytes:
        block: bytes = _asked(self.path, lambda: self._file.read(self.block_bytes))
        self.size += len(block)
        self._hasher.update(block)
        return block

    def head(self, size: int) -> bytes:
        """The first bytes (at most `size`, fewer when the first block is short), without moving."""
        if self._first is None:
            self._first = self._read()
        return self._first[:size]

    def blocks(self) -> Iterator[bytes]:
        """Blocks of the file's bytes, hashed on the way."""
        block = self.head(self.block_bytes)
        while block:
            yield block
            block = self._read()
        self._ended = True

    def finish(self) -> tuple[str, int]:
        """sha256 (hexadecimal) and size of the whole file."""
        while not self._ended:
            self._ended = not self._read()
        return self._hasher.hexdigest(), self.size

    def total(self) -> int:
        """Size of the file in bytes; fetches it into a temporary file, since only that is sure to be seekable."""
        if self._cache is None:
            self._cache = tempfile.NamedTemporaryFile(prefix="prep-")  # noqa: SIM115  # closed with the source
            self._cache.write(self._first or b"")
            while block := self._read():
                self._cache.write(block)
            self._cache.flush()
            self._ended = True
        return self.size

    def table(self) -> Any:
        """A fresh pyarrow file over the same bytes."""
        import pyarrow as pa

        self.total()
        return pa.OSFile(self._cache.name)


def _asked(url: str, question: Callable[[], _T]) -> _T:
    """The answer of a remote file system, its many kinds of failure turned into ours."""
    try:
        return question()
    except Fault:
        raise
    except Exception as error:
        raise _fault(url, error) from None


def _fault(url: str, error: Exception) -> Fault:
    if isinstance(error, FileNotFoundError):
        return UsageFault(f"{public(url)}: no such file")
    # the text of a remote error may repeat the URL with its credentials, so only its kind is shown
    return MachineFault(
        f"{public(url)}: cannot be read ({type(error).__name__})", hint="check the address and your access"
    )
