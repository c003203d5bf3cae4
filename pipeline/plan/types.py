"""What a plan is made of: data sets ready to read, and everything that a run does, before it does it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.jobs.specs import BatchSpec, SourceSpec
from registry.datasets.types import Dataset
from registry.kinds import ROW_KINDS
from registry.rules import Policy
from stages.core.fingerprint import code_digest
from stages.core.records import Limits
from stages.core.token_texts import TokenTexts
from stages.formats.detect import Detection

if TYPE_CHECKING:
    from pipeline.jobs.encode_spec import EncodeSpec
    from stages.tokenize.fitted import FittedTokenizer
    from stages.tokenize.tokenizer_files import TokenizerFiles


@dataclass(frozen=True)
class Source:
    """One data set, ready to read. split: train, or the evaluation split it belongs to."""

    dataset: Dataset
    spec: SourceSpec
    files: tuple[str, ...]
    split: str = "train"
    detection: Detection | None = None

    @property
    def bytes(self) -> int:
        """Size of its files on disk; 0 for what is not local."""
        return sum(os.path.getsize(path) for path in self.files if os.path.exists(path))


@dataclass(frozen=True)
class Plan:
    """Everything a run does, before it does it. `encode` is None when records are only checked."""

    config: Config
    stage: str
    kind: str  # lm | pref | unpaired | prompt | pt
    sources: tuple[Source, ...]
    policy: Policy
    encode: EncodeSpec | None = None
    tokenizer: TokenizerFiles | None = None
    fitted: FittedTokenizer | None = None
    notes: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def packed(self) -> bool:
        """Whether rows hold several examples."""
        return ROW_KINDS[self.kind].sequence and self.config.pack.packing

    @property
    def input_bytes(self) -> int:
        """Bytes on disk over all sources."""
        return sum(source.bytes for source in self.sources)

    @property
    def control(self) -> TokenTexts:
        """Texts that become control tokens; few where `split_special_tokens` writes them as ordinary text."""
        if self.fitted is None:
            return TokenTexts()
        return self.fitted.unsplit if self.config.encode.split_special_tokens else self.fitted.control

    def batch_spec(self, cache_folder: str | None) -> BatchSpec:
        """What the batch path needs."""
        return BatchSpec(
            sources=tuple(source.spec for source in self.sources),
            stage=self.stage,
            policy=self.policy,
            control=self.control,
            encode=self.encode,
            cache_folder=cache_folder,
            limits=self.limits,
            code=code_digest() if self.encode is not None else "",
        )
