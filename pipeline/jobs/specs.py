"""What the chunk jobs of `prep validate` and `prep pack` are given and give back: picklable values, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson

from registry.datasets.types import Fields
from registry.rules import Policy
from stages.core.collector import Reject, Tally
from stages.core.findings import Finding
from stages.core.fingerprint import NEVER, RUN_ONLY, canonical
from stages.core.records import Chunk, Limits
from stages.core.token_texts import TokenTexts
from stages.validate.dataset_state import SetState

if TYPE_CHECKING:
    from stages.tokenize.backends import Ids, Offsets
    from stages.truncate.cut_findings import Examples

    from .encode_spec import EncodeSpec


PROVEN = ".proven"  # beside a cache file: its sample had the reference's ids (pipeline.runs.tokenizer_backend)


@dataclass(frozen=True)
class SourceSpec:
    """One data set as the batch path sees it."""

    name: str = field(metadata=RUN_ONLY)  # no chunk holds it
    format: str
    fields: Fields


@dataclass(frozen=True)
class BatchSpec:
    """Everything a worker needs, in one picklable value. `encode` is None when only records are checked."""

    sources: tuple[SourceSpec, ...] = field(metadata=RUN_ONLY)  # a chunk is of one, which its key names
    stage: str
    policy: Policy
    control: TokenTexts = field(default_factory=TokenTexts)
    encode: EncodeSpec | None = None
    cache_folder: str | None = field(default=None, metadata=NEVER)  # where, not what
    limits: Limits = field(default_factory=Limits)
    code: str = ""  # digest of the code that makes rows (stages.core.fingerprint), taken once, by the parent

    def content_key(self, source: int) -> str:
        """What a chunk's result depends on besides its bytes."""
        spec = self.sources[source]
        encode = self.encode
        # an example that is split is cut before its parts are tokenized
        cut = canonical(encode.cut, "chunk") if encode is not None and encode.overlong == "split" else None
        parts = [canonical(self, "chunk"), canonical(spec, "chunk"), cut, self.code]
        return orjson.dumps(parts, option=orjson.OPT_SORT_KEYS).decode()


class Task(NamedTuple):
    """One chunk of one file of one source. wanted: only that many of its records are taken (-1: all). check: texts of
    this chunk prove the tokenizer's back end."""

    source: int
    path: str
    chunk: Chunk
    wanted: int = -1
    check: bool = False


class ChunkResult(NamedTuple):
    """What one chunk came to.

    read: records seen. counts: notes by (rule, severity). findings: capped a rule, in record order. rejected: records
    by the rule that rejected them. examples: lengths of each kept record, None when nothing was tokenized. reused: it
    came from the cache. checked_texts: texts of this chunk whose ids are compared with the reference's. seconds: taken
    to check and render, to tokenize, and to keep the result. sample: those texts, their ids and offsets, when nobody
    has compared them yet. seen: "records" rendered, and those that show a trait of the template.
    """

    source: int
    path: str
    number: int
    first_record: int
    read: int
    counts: dict[tuple[str, str], int]
    findings: list[Finding]
    rejected: dict[str, int]
    rejects: list[Reject]
    setstate: SetState | None
    text_bytes: int
    examples: Examples | None = None
    reused: bool = False
    checked_texts: int = 0
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sample: tuple[list[str], Ids, Offsets] | None = None
    seen: dict[str, int] = {}  # noqa: RUF012  # nobody writes into it

    @classmethod
    def of(cls, task: Task, tally: Tally, setstate: SetState, text_bytes: int) -> ChunkResult:
        """What the checks of a chunk came to; nothing was tokenized.

        Args:
            task: The chunk's task.
            tally: Its records, findings and rejects.
            setstate: What the set-level checks remember of it.
            text_bytes: Its size, decompressed.
        """
        return cls(
            source=task.source,
            path=task.path,
            number=task.chunk.index,
            first_record=task.chunk.first_record,
            read=tally.read,
            counts=dict(tally.counts),
            findings=tally.findings,
            rejected=dict(tally.rejected),
            rejects=tally.rejects,
            setstate=setstate,
            text_bytes=text_bytes,
        )


class ChunkTask(Protocol):
    """What the tasks of every job on chunks have: the path that findings name, and the chunk."""

    @property
    def path(self) -> str: ...
    @property
    def chunk(self) -> Chunk: ...


def task_name(task: ChunkTask) -> str:
    """The engine's `name`: which bytes of which file."""
    return f"{task.path}, bytes {task.chunk.start} to {task.chunk.end}"
