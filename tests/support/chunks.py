"""Chunks of JSON lines that are in memory, as the readers give them to a job."""

from __future__ import annotations

import json

from stages.core.records import Chunk

PATH = "data.jsonl"


def chunk_of(*records: object, kind: str = "jsonl") -> Chunk:
    """The first chunk of a file with these records; bytes are taken as they are, everything else is written as JSON."""
    lines = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    data = b"\n".join(lines)
    return Chunk(PATH, 0, kind, 0, len(data), 1, 0, len(lines), data)
