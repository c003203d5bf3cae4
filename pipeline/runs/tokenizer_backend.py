"""The proof of a run's back end: ids of a sample of the user's texts, and of nasty ones, beside the reference's.

    worker   first chunk of a file -> sample: texts, and the ids that its back end gives
    here     the same texts through `tokenizers`, in a thread, while the workers go on -> equal, or BackEndDiffers

The reference takes a third of a second to load, so it is loaded once a run, and not in every worker. A chunk in the
cache counts as proven when a file of its name with `PROVEN` lies beside it: a run that was killed before its samples
were compared leaves none, and the next one takes them anew.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pipeline.engine.limits import aside
from pipeline.jobs.encode_spec import EncodeSpec
from pipeline.jobs.encoder import Encoding
from pipeline.jobs.specs import PROVEN, ChunkResult
from stages.core.atomic_io import write_whole
from stages.tokenize.backends import BackEndDiffers, Encoder, Ids, Offsets, differences, load_encoder


class BackEndProof:
    """Compares the samples of chunks as they come. Use as a context manager.

    early: the reference is loaded at once, since chunks are sure to need it.
    """

    def __init__(self, spec: EncodeSpec, *, early: bool) -> None:
        self.spec = spec
        self._reference: Encoder | None = None
        self._pool = ThreadPoolExecutor(1)
        self._open: list[Future[Any]] = []
        if early and spec.back_end != "tokenizers":
            self._open.append(aside(self._pool, self._load))

    def __enter__(self) -> BackEndProof:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, result: ChunkResult) -> None:
        """Takes a chunk's sample, if it has one. Raises BackEndDiffers when an earlier one had other ids."""
        if result.sample is not None:
            texts, ids, offsets = result.sample
            cache = result.examples.cache if result.examples is not None else ""
            self._open.append(aside(self._pool, lambda: self._compare(texts, ids, offsets, cache)))
        self._look(wait=False)

    def finish(self) -> None:
        """Waits for the last comparison. Raises BackEndDiffers when one had other ids."""
        self._look(wait=True)

    def _look(self, *, wait: bool) -> None:
        done = [future for future in self._open if wait or future.done()]
        self._open = [future for future in self._open if future not in done]
        for future in done:
            future.result()

    def _load(self) -> Encoder:
        if self._reference is None:
            spec = self.spec
            text = Encoding(spec).json_text()
            self._reference = load_encoder("tokenizers", text, split_special_tokens=spec.split_special_tokens)
        return self._reference

    def _compare(self, texts: list[str], ids: Ids, offsets: Offsets, cache: str) -> None:
        if found := differences(self.spec.back_end, texts, ids, offsets, self._load()):
            raise BackEndDiffers(found)
        if cache:
            write_whole(os.path.splitext(cache)[0] + PROVEN, b"")
