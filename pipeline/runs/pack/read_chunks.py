"""Reading: the chunks of a plan through an engine, and through the reference tokenizer when a fast back end differs.

    plan -> engine (workers load the tokenizer) -> chunks -> Collected, rejects
                          ^                          |
                          └─ back end `tokenizers` ──┘ BackEndDiffers: the cache goes, and all is read again

Cache files stay from run to run; `prune` takes away those that no row needs any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.engine import Engine
from pipeline.engine.open import is_inline, open_engine
from pipeline.jobs.dispatch import Release, chunk_job
from pipeline.jobs.specs import PROVEN
from pipeline.output.rejects import RejectWriter
from pipeline.plan.types import Plan
from pipeline.progress import Progress
from pipeline.runs.collect import Collected, collect
from pipeline.runs.tokenizer_backend import BackEndProof
from stages.core.atomic_io import remove_tree, write_whole
from stages.tokenize.backends import MEDIUM_BYTES, BackEndDiffers

Log = Callable[[str], None]
Identity = tuple[str, dict[str, Any]]  # the run's key, and what it is made of


@dataclass(frozen=True)
class Read:
    """What was read and found.

    plan: with the back end that was used. proof: that of the template. identity: by the bytes that were read.
    """

    plan: Plan
    collected: Collected
    rejects: RejectWriter
    proof: dict[str, Any]
    identity: Identity


class ChunkReader:
    """The engine of a run, opened at once so that its workers load meanwhile, and the plan that they work by.

    plan: names the tokenizer file that the workers read, and the back end that turns out to be right.
    """

    def __init__(self, plan: Plan, cache: Path, engines: ExitStack, log: Log) -> None:
        """Opens the engine.

        Args:
            plan: What is to be read, with an encoding.
            cache: Folder of the chunks' cache files.
            engines: Closes the engine that is open in the end.
            log: Takes a line when a back end differs.
        """
        self.plan = plan
        self.cache = cache
        self.engine: Engine[Any, Any]
        self._engines = engines
        self._log = log
        self._open()

    def read(self, rejects: Path, progress: Progress | None) -> tuple[Collected, RejectWriter]:
        """Runs every chunk; what is rejected goes into the folder `rejects`. Raises a Fault."""
        encode = self.plan.encode
        assert encode is not None
        try:
            with (
                BackEndProof(encode, early=encode.load_early) as proof,
                RejectWriter(rejects, [source.spec.name for source in self.plan.sources]) as writer,
            ):
                return collect(self.plan, self.engine, writer.add, progress, proof), writer
        except BackEndDiffers as differs:
            self._log(f"{differs.problems[0]}; the reference tokenizer is used, which is slower")
            self._engines.close()
            prune(self.cache, ())  # made by the back end that differs, in this run or in one that was killed
            self.plan = replace(self.plan, encode=replace(encode, back_end="tokenizers"))
            self._open()
            return self.read(rejects, progress)

    def release(self, workers: int) -> None:
        """Lets the workers forget their tokenizers, of which the shards have no need."""
        config, size = self.plan.config, self.plan.input_bytes
        # a small set takes no memory to speak of, and each of Ray's tasks may run anywhere
        if size >= MEDIUM_BYTES and config.run.engine != "ray":
            for _ in self.engine.run([Release()] * (1 if is_inline(config, size) else workers)):
                pass

    def _open(self) -> None:
        encode, fitted = self.plan.encode, self.plan.fitted
        assert encode is not None and fitted is not None
        if not is_inline(self.plan.config, self.plan.input_bytes):
            path = self.cache.parent / "tokenizer.json"
            write_whole(path, fitted.json_text.encode("utf-8"))
            # with finished chunks in the cache a tokenizer may not be needed at all
            early = not any(self.cache.iterdir())
            self.plan = replace(self.plan, encode=replace(encode, json_path=os.fspath(path), load_early=early))
        job = chunk_job(self.plan.batch_spec(os.fspath(self.cache)))
        self.engine = self._engines.enter_context(open_engine(self.plan.config, job, self.plan.input_bytes))


def prune(cache: Path, used: Container[str]) -> None:
    """Removes the chunks' cache files whose name without suffix is not in `used`. Raises MachineFault."""
    for entry in sorted(cache.iterdir()) if cache.is_dir() else ():
        # nothing else goes: the folder may be a link to a place that holds more
        if entry.suffix in (".cache", PROVEN) and entry.stem not in used:
            remove_tree(entry)
