"""Cache files of examples given as segments, and where each example lies in them, as the packer hands it on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.tokenize.token_cache import write_token_cache
from stages.writers.lineage import Parts


class Example(NamedTuple):
    """Token ids of each segment, and which segments carry a loss. label: of a judged answer."""

    segments: tuple[tuple[int, ...], ...]
    trained: tuple[int, ...]
    label: int = 0


def write_caches(folder: Path, chunks: Sequence[Sequence[Example]]) -> tuple[tuple[str, ...], Parts]:
    """One cache file for each list of examples; the parts name every example in order, from source 0, line 1 on."""
    paths, rows = [], []
    for number, examples in enumerate(chunks):
        path = str(folder / f"{number}.cache")
        lengths = [len(segment) for example in examples for segment in example.segments]
        sections = {
            "ids": np.array([t for e in examples for s in e.segments for t in s], dtype=np.int32),
            "segments": np.array(lengths, dtype=np.int32),
            "trained": np.array([flag for e in examples for flag in e.trained], dtype=np.uint8),
            "labels": np.array([e.label for e in examples], dtype=np.uint8),
        }
        write_token_cache(path, {}, sections)
        paths.append(path)
        token = segment = 0
        for example in examples:
            tokens = sum(map(len, example.segments))
            rows.append((number, token, tokens, segment, len(example.segments), 0, 0, len(rows) + 1, len(rows)))
            token, segment = token + tokens, segment + len(example.segments)
    columns = np.array(rows, dtype=np.int64).reshape(-1, len(Parts._fields)).T
    wide = {"token_start", "segment_start", "line", "record"}
    typed = [c if name in wide else c.astype(np.int32) for name, c in zip(Parts._fields, columns, strict=True)]
    return tuple(paths), Parts(*typed)
