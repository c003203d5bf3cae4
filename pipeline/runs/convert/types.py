"""A conversion: what is requested, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import Config
from pipeline.jobs.convert import ConvertSpec
from stages.core.collector import FindingCollector
from stages.core.records import FileInfo
from stages.formats.losses import LOSSES


@dataclass(frozen=True)
class Conversion:
    """What is requested. config: the engine and its limits. report, rejects: where to write them, None for nowhere.

    strict: publish nothing lossy. tables: files that are read beside the data, and so are not to be written.
    """

    files: tuple[str, ...]
    spec: ConvertSpec
    out: Path
    config: Config
    strict: bool = False
    report: Path | None = None
    rejects: Path | None = None
    tables: tuple[str, ...] = ()


@dataclass
class FileCounts:
    """One input file. read = written + rejected."""

    path: str
    info: FileInfo | None = None
    read: int = 0
    written: int = 0
    rejected: int = 0


@dataclass
class Converted:
    """What came of it. losses: count by (field, what); lossy: records that lost anything, by what.

    errors: findings with severity error, file-level ones included. changed: what the container could not hold.
    published: whether the output was written.
    """

    files: list[FileCounts] = field(default_factory=list)
    found: FindingCollector = field(default_factory=FindingCollector)
    losses: Counter[tuple[str, str]] = field(default_factory=Counter)
    lossy: Counter[str] = field(default_factory=Counter)
    lossy_records: int = 0
    keys: dict[str, None] = field(default_factory=dict)
    has_calls: bool = False
    changed: dict[str, dict[str, int]] = field(default_factory=dict)
    published: bool = False
    elapsed_s: float = 0.0

    @property
    def read(self) -> int:
        """Records of all files."""
        return sum(item.read for item in self.files)

    @property
    def written(self) -> int:
        """Records in the output."""
        return sum(item.written for item in self.files)

    @property
    def rejected(self) -> int:
        """Records that could not be read or written."""
        return sum(item.rejected for item in self.files)

    @property
    def errors(self) -> int:
        """Findings with severity error, those about whole files included."""
        return sum(count for (_, severity), count in self.found.counts.items() if severity == "error")

    def lost(self, severity: str) -> int:
        """Losses of one severity: content or form."""
        return sum(count for (_, what), count in self.losses.items() if LOSSES[what].severity == severity)

    @property
    def reshaped(self) -> int:
        """Values that the container holds as JSON text, being none of its types."""
        return sum(counts.get("to JSON text", 0) for counts in self.changed.values())
