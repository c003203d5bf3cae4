"""The trainer's side of the handoff: a folder of shards and its manifest, checked, and opened without a copy.

    OUT/manifest.json ── read_manifest ──> Prepared ── verify ──> (every shard is what the manifest says)
                                                └── dataset ──> datasets.Dataset over memory-mapped files

The list of files always comes from the manifest, never from a glob: a trainer that precomputes writes cache files of
its own beside the shards. Opening costs no memory that grows with the data; verifying reads every byte once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.errors import DataFault, UsageFault, unreadable
from stages.core.manifest_document import changed, parse_manifest
from stages.core.plain_file import kind_of, read_plain

MANIFEST = "manifest.json"
COLUMNS = {
    "lm": ("input_ids", "labels"),
    "pref": ("prompt_ids", "chosen_ids", "rejected_ids"),
    "unpaired": ("prompt_ids", "completion_ids", "label"),
    "prompt": ("prompt_ids", "label_ids"),
}
ROW_COLUMN = "row"  # a row's number in its split: what `prep trace OUT --row N` takes


@dataclass(frozen=True)
class Shard:
    """One file of a split as the manifest describes it. `bytes` and `sha256` are of the whole file."""

    path: Path
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Prepared:
    """A folder that `prep pack` wrote. `manifest` is its whole manifest."""

    root: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def packed(self) -> bool:
        return bool(self.manifest["packed"])

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(name for name, split in self.manifest["splits"].items() if split["rows"] > 0)

    @property
    def vocabulary(self) -> int:
        """How many ids the tokenizer that wrote the shards has; 0 when the manifest does not say."""
        return int(self.manifest.get("tokenizer", {}).get("vocab_size") or 0)

    def shards(self, split: str) -> list[Shard]:
        """The split's files, in order."""
        entries = self.manifest["splits"][split]["shards"]
        return [Shard(self.root / str(e["file"]), int(e["rows"]), int(e["bytes"]), str(e["sha256"])) for e in entries]

    def columns(self) -> tuple[str, ...]:
        """The columns that this kind of shards has."""
        return (*COLUMNS[self.kind], "seq_lengths") if self.packed else COLUMNS[self.kind]


def read_manifest(root: Path) -> Prepared:
    """What the folder holds. Raises UsageFault when it is no finished output of `prep pack`, DataFault when its
    manifest is damaged."""
    path = root / MANIFEST
    try:
        manifest = parse_manifest(read_plain(path), str(path))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageFault(
            f"{root}: no {MANIFEST}, so nothing was packed here to the end", hint="run prep pack with this config first"
        ) from None
    except OSError as error:
        raise unreadable(error, path) from error
    if said := changed(manifest):
        raise DataFault(f"{path}: {said} since it was written", hint="pack again")
    return Prepared(root, manifest)


def manifest_digest(prepared: Prepared) -> str:
    """What identifies the data: the sha256 of the manifest without its `run` block (times, versions)."""
    body = {key: value for key, value in prepared.manifest.items() if key != "run"}
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def verify(prepared: Prepared, splits: Iterable[str], threads: int = 4) -> int:
    """Read every shard of `splits` and compare size, sha256 and rows with the manifest.

    Args:
        prepared: The folder.
        splits: Names of its splits.
        threads: How many files are read at once.

    Returns:
        The bytes read.

    Raises:
        DataFault: One line for each file that differs.
    """
    shards = [shard for split in splits for shard in prepared.shards(split)]
    with ThreadPoolExecutor(threads) as pool:
        problems = [problem for problem in pool.map(_shard_problem, shards) if problem]
    if problems:
        raise DataFault(problems, hint="the shards are not what was packed; pack again, or copy them again")
    return sum(shard.bytes for shard in shards)


def _shard_problem(shard: Shard) -> str:
    try:
        held = shard.path.stat()
        if kind := kind_of(held.st_mode):
            return f"{shard.path}: is {kind}, not a file"
        size = held.st_size
        if size != shard.bytes:
            return f"{shard.path}: {size:,} bytes, the manifest says {shard.bytes:,}"
        with shard.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{shard.path}: {error.strerror}"
    if sha256 != shard.sha256:
        return f"{shard.path}: its bytes have changed since it was packed (sha256 {sha256[:12]}…)"
    rows = _rows(shard.path)
    if rows < 0:
        return f"{shard.path}: is no Arrow stream"
    return "" if rows == shard.rows else f"{shard.path}: {rows:,} rows, the manifest says {shard.rows:,}"


def _rows(path: Path) -> int:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
            return sum(batch.num_rows for batch in reader)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's; Arrow's own have no number
            raise
        return -1


def dataset(prepared: Prepared, split: str) -> Any:
    """The split as a `datasets.Dataset` over its memory-mapped files, with its columns and `ROW_COLUMN`.

    Raises DataFault when a column is missing.
    """
    import datasets
    import numpy as np

    parts = [datasets.Dataset.from_file(str(shard.path)) for shard in prepared.shards(split) if shard.rows]
    whole = datasets.concatenate_datasets(parts)
    missing = [name for name in prepared.columns() if name not in whole.column_names]
    if missing:
        raise DataFault(
            f"{prepared.root}/{split}: no column {', '.join(missing)} for {prepared.kind} shards; pack again"
        )
    kept = whole.select_columns(list(prepared.columns()))
    # 4 bytes a row is the price of naming the rows of a batch whose loss jumps
    return kept.add_column(ROW_COLUMN, np.arange(len(kept), dtype=np.int32))


def lengths(prepared: Prepared, split: str) -> Any:
    """Tokens of every row (int32, in row order), from the list offsets alone. Pairs count both answers."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [name for name in prepared.columns() if name.endswith("_ids")]
    counts = []
    for shard in prepared.shards(split):
        with pa.memory_map(str(shard.path)) as source:
            table = pa.ipc.open_stream(source).read_all()
        counts.append(sum(pc.list_value_length(table[name]).to_numpy() for name in names))
    return np.concatenate(counts).astype(np.int32)


def longest_example(prepared: Prepared, split: str) -> int:
    """Tokens of the longest example: of a packed row its longest part, of a pair the prompt with its longer answer."""
    import pyarrow as pa
    import pyarrow.compute as pc

    longest = 0
    for shard in prepared.shards(split):
        with pa.memory_map(str(shard.path)) as source:
            table = pa.ipc.open_stream(source).read_all()
        if not table.num_rows:
            continue
        if "seq_lengths" in table.column_names:
            found = pc.max(pc.list_flatten(table["seq_lengths"])).as_py()
        else:
            size = {name: pc.list_value_length(table[name]) for name in prepared.columns() if name.endswith("_ids")}
            prompt = size.pop("prompt_ids", None)
            rest = pc.max_element_wise(*size.values())
            found = pc.max(rest if prompt is None else pc.add(prompt, rest)).as_py()
        longest = max(longest, int(found or 0))
    return longest
