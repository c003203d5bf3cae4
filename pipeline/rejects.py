"""Rejects: the raw bytes of every record that was not kept, and why, so that they can be mended and fed in again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from stages.batch import Reject
from stages.files import Sink, create


class RejectWriter:
    """Writes rejected records as they come: raw bytes one a line, and beside them what was wrong, line for line."""

    def __init__(self, folder: Path, names: Sequence[str], *, first: int = 0) -> None:
        """names: of the data sets, by source number. first: number of the first one, in the files' names."""
        self.folder = folder
        self.names = names
        self.first = first
        self.files: list[dict[str, Any]] = []
        self._open: dict[int, tuple[Sink, Sink, str]] = {}
        self._files = contextlib.ExitStack()

    def __enter__(self) -> RejectWriter:
        return self

    def add(self, source: int, reject: Reject) -> None:
        """One record, in input order."""
        if source not in self._open:
            name = "".join(char if char.isalnum() or char in "-_." else "_" for char in self.names[source])
            stem = f"{self.first + source:02d}-{name.removesuffix('.jsonl')}"
            data = self._files.enter_context(create(self.folder / f"{stem}.jsonl"))
            why = self._files.enter_context(create(self.folder / f"{stem}.findings.jsonl"))
            self._open[source] = data, why, stem
        data_sink, why_sink, _ = self._open[source]
        # inside a JSON value a raw line break can only be white space
        data_sink.write(reject.data.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
        findings = [finding.as_dict() for finding in reject.findings]
        why_sink.write(orjson.dumps({"record": reject.record, "line": reject.line, "findings": findings}) + b"\n")

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._files.__exit__(kind, value, trace)
        for data_sink, why_sink, stem in self._open.values():
            for sink, suffix in ((data_sink, ".jsonl"), (why_sink, ".findings.jsonl")):
                self.files.append({"file": f"rejects/{stem}{suffix}", "bytes": sink.size_bytes, "sha256": sink.sha256})
        self.files.sort(key=lambda entry: str(entry["file"]))
