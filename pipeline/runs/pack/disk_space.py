"""Space: what a run will write, estimated before it starts, and again exactly once the tokens are counted.

cache    4 bytes a token and about 60 a record, in OUT/.cache; what an earlier run left there is not written again
shards   8 bytes a token (ids and labels) or 4 (no labels), beside the old output until the new one replaces it
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.plan.types import Plan
from registry.kinds import ROW_KINDS
from stages.core.urls import is_url

TEXT_BYTES_A_TOKEN = 4  # JSON lines of chat text: 4.6 in English and Chinese with a vocabulary of 150,000
RECORD_SHARE = 0.25  # places, lengths and hashes of records, beside their ids
PACKED_ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".parquet")
PACKED_RATIO = 4  # what compressed text grows to
COLUMN_BYTES_A_TOKEN = 4  # ids, and labels where they are a column of their own
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def text_bytes(plan: Plan) -> tuple[int, bool]:
    """About how much text the input holds, and whether that is exact."""
    total, exact = 0, True
    for path in (path for source in plan.sources for path in source.files):
        packed = path.lower().endswith(PACKED_ENDINGS)
        exact = exact and not packed and not is_url(path) and path.lower().endswith((".jsonl", ".json"))
        if os.path.isfile(path):
            total += os.path.getsize(path) * (PACKED_RATIO if packed else 1)
    return total, exact


def expected_bytes(plan: Plan, cache: Path) -> tuple[int, int]:
    """About how many bytes go into the cache and into the shards."""
    tokens = text_bytes(plan)[0] // TEXT_BYTES_A_TOKEN
    kept = sum(entry.stat().st_size for entry in cache.glob("*.cache")) if cache.is_dir() else 0
    return max(int(tokens * 4 * (1 + RECORD_SHARE)) - kept, 0), shard_bytes(plan, tokens)


def shard_bytes(plan: Plan, tokens: int) -> int:
    """Bytes of shards that hold this many tokens."""
    return tokens * COLUMN_BYTES_A_TOKEN * (2 if ROW_KINDS[plan.kind].sequence else 1)


def warn(what: str, need_bytes: int, out: Path, log: Callable[[str], None]) -> None:
    """Logs a warning when the disk has not that much room. No more than that: the file system may compress.

    Args:
        what: Subject and verb of the warning, such as "the shards need".
        need_bytes: Bytes that will be written.
        out: A folder on the disk in question.
        log: Takes the warning.
    """
    free = shutil.disk_usage(out).free
    if need_bytes > free:
        log(f"warning: {what} about {size_text(need_bytes)}, and {size_text(free)} are free on the disk of {out}")


def size_text(size_bytes: int) -> str:
    """A size in the unit that fits it, with up to three digits: `300 KiB`, `1.23 GiB`. Nothing but 0 is shown as 0."""
    if size_bytes < 1024:
        return f"{size_bytes} byte{'' if size_bytes == 1 else 's'}"
    size, step = size_bytes / 1024, 0
    while size >= 999.5 and step + 1 < len(_UNITS):
        size, step = size / 1024, step + 1
    return f"{size:.3g} {_UNITS[step]}"
