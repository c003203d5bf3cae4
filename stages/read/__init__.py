"""Read: bytes in, records out, with file, line and byte offset; nothing is decoded here. Version 1.

discover(spec) -> paths
scan(path)     -> Chunk, Chunk, ..., FileInfo      in the parent: cuts, hashes, decompresses
records(chunk) -> [Record, ...]                    in a worker: fetches its range of the file
"""

from .chunks import Chunk, FileInfo, Limits, Record
from .discover import discover
from .remote import identity, is_url, named, public
from .scan import load, records, scan

VERSION = 1

__all__ = [
    "VERSION", "Chunk", "FileInfo", "Limits", "Record", "discover", "identity", "is_url", "load", "named", "public",
    "records", "scan",
]  # fmt: skip
